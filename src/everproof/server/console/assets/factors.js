// @ts-check
/** Add a passkey or a security key. */

import { ask } from "./ask.js";
import { able, make } from "./passkeys.js";
import { find, press } from "./press.js";

const place = find("[data-passkey]");
const name = place?.querySelector("input");

if (place && name && able) {
  place.hidden = false;
  for (const button of place.querySelectorAll("button")) {
    const kind = button.dataset.kind ?? "passkey";
    press(button, find("[data-said]"), "Waiting for your authenticator …", async () => {
      const { options } = await ask("POST", "/v1/factors/passkeys/options", { kind });
      const credential = await make(options);
      const chosen = name.value.trim() || (kind === "passkey" ? "passkey" : "security key");
      await ask("POST", "/v1/factors/passkeys", { kind, name: chosen, credential });
      location.assign("/factors?said=added");
    });
  }
}
