// @ts-check
/** What every page of somebody who is signed in does. */

import { keep } from "./session-key.js";

keep();
