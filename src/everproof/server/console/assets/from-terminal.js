// @ts-check
/** Sign this browser in by a link that a terminal has opened, once its reader has seen who that is. */

import { ask, go } from "./ask.js";
import { said } from "./passkeys.js";
import { find, press, tell } from "./press.js";

const code = location.hash.slice(1);
const place = find("[data-handover]");
const status = find("[data-said]");
const button = place?.querySelector("button");
const who = find("[data-who]");
const address = find("[data-address]");

history.replaceState(null, "", location.pathname + location.search);

if (code === "") {
  tell(status, "The address has no link's secret in it. Run again: everproof open.", true);
} else if (place && button && who && address) {
  try {
    const found = await ask("POST", "/v1/login/handover/look", { code });
    who.textContent = found.principal.id;
    address.textContent = found.address || "this machine";
    place.hidden = false;
    press(button, status, "Signing in …", async () => {
      await ask("POST", "/v1/login/handover/take", { code });
      go(button.dataset.next);
    });
  } catch (error) {
    tell(status, said(error), true);
  }
}
