// @ts-check
/** Show a passkey, and go on. */

import { ask, go } from "./ask.js";
import { able, show } from "./passkeys.js";
import { find, press } from "./press.js";

const place = find("[data-passkey]");
const button = place?.querySelector("button");
const status = find("[data-said]");

if (place && button && able) {
  place.hidden = false;
  const session = place.dataset.session || undefined;
  press(button, status, "Waiting for your passkey …", async () => {
    const asked = await ask("POST", "/v1/step-up/options", session ? { session } : {});
    const credential = await show(asked.options);
    await ask("POST", "/v1/step-up", { ...(session ? { session } : {}), method: "passkey", credential });
    go(place.dataset.next);
  });
}
