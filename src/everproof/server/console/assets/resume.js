// @ts-check
/** Renew the session's cookie, and go on; else sign in. */

import { go } from "./ask.js";
import { find, tell } from "./press.js";
import { renew } from "./session-key.js";

const status = find("[data-said]");

try {
  if (await renew()) {
    go(status?.dataset.next);
  } else {
    tell(status, "This browser has no key of the session any more. Sign in anew.", true);
  }
} catch {
  tell(status, "The server could not be reached, or this browser keeps no keys. Sign in anew.", true);
}
