// @ts-check
/** Sign in with a passkey. */

import { ask, go } from "./ask.js";
import { able, show } from "./passkeys.js";
import { find, press } from "./press.js";

const place = find("[data-passkey]");
const button = place?.querySelector("button");
const status = find("[data-said]");

if (place && button && able) {
  place.hidden = false;
  press(button, status, "Waiting for your passkey …", async () => {
    const asked = await ask("POST", "/v1/login/passkey/options", {});
    const credential = await show(asked.options);
    await ask("POST", "/v1/login/passkey", { credential });
    go(button.dataset.next);
  });
}
