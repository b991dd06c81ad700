// @ts-check
/** A button that does something which takes a while: pressed once at a time, and its outcome said aloud. */

import { Problem } from "./ask.js";
import { said } from "./passkeys.js";

/**
 * @param {HTMLElement} button
 * @param {HTMLElement | null} status where the outcome is said; a live region
 * @param {string} meanwhile what is said until then
 * @param {() => Promise<void>} act
 */
export function press(button, status, meanwhile, act) {
  let busy = false;
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    if (busy) {
      return;
    }
    busy = true;
    button.setAttribute("aria-disabled", "true");
    tell(status, meanwhile, false);
    try {
      await act();
      tell(status, "Done.", false);
    } catch (error) {
      tell(status, said(error), true);
      help(status, error);
    } finally {
      busy = false;
      button.removeAttribute("aria-disabled");
    }
  });
}

/**
 * @param {HTMLElement | null} status
 * @param {string} text
 * @param {boolean} alarm
 */
export function tell(status, text, alarm) {
  if (status === null) {
    return;
  }
  status.textContent = text;
  status.classList.toggle("notice", true);
  status.classList.toggle("alarm", alarm);
}

/**
 * A link to what would help, where the server has named it.
 *
 * @param {HTMLElement | null} status
 * @param {unknown} error
 */
function help(status, error) {
  const wanted = error instanceof Problem ? error.body.extra?.step_up : null;
  if (!wanted || status === null) {
    return;
  }
  const anew = Array.isArray(wanted.methods) && wanted.methods.includes("sign-in");
  const link = document.createElement("a");
  link.href = `${anew ? "/login?max_age=0&" : "/step-up?"}next=${encodeURIComponent(location.pathname)}`;
  link.textContent = anew ? "Sign in anew" : "Show a factor and come back";
  status.append(" ", link);
}

/**
 * The one element that a page has of this kind.
 *
 * @param {string} selector
 * @returns {HTMLElement | null}
 */
export function find(selector) {
  const found = document.querySelector(selector);
  return found instanceof HTMLElement ? found : null;
}
