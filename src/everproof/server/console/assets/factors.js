// @ts-check
/** Enrol a passkey or a security key. */

import { ask } from "./ask.js";
import { able, make } from "./passkeys.js";
import { find, press } from "./press.js";

const place = find("[data-passkey]");
const button = place?.querySelector("button");
const name = place?.querySelector("input");

if (place && button && name && able) {
  place.hidden = false;
  press(button, find("[data-said]"), async () => {
    const asked = await ask("POST", "/v1/factors/passkeys/options", {});
    const response = await make(asked.options ?? asked);
    await ask("POST", "/v1/factors/passkeys", { name: name.value.trim() || "passkey", response });
    location.assign("/factors?said=added");
  });
}
