// @ts-check
/** Passkeys and security keys: what the server asks of the browser, and what the browser says to the server. */

/** Whether this browser can ask for a passkey, and has the functions that read what the server sends. */
export const able =
  typeof PublicKeyCredential === "function" && typeof PublicKeyCredential.parseRequestOptionsFromJSON === "function";

/**
 * Show a passkey that was made before.
 *
 * @param {any} options as the server gives them
 * @returns {Promise<object>} for the server, as JSON
 */
export async function show(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return plainly(await navigator.credentials.get({ publicKey }));
}

/**
 * Make a new passkey.
 *
 * @param {any} options as the server gives them
 * @returns {Promise<object>} for the server, as JSON
 */
export async function make(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return plainly(await navigator.credentials.create({ publicKey }));
}

/**
 * @param {Credential | null} found
 * @returns {object}
 */
function plainly(found) {
  if (!(found instanceof PublicKeyCredential)) {
    throw new DOMException("no passkey was chosen", "NotAllowedError");
  }
  return found.toJSON();
}

/**
 * One sentence for whoever waits, of whatever went wrong.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function said(error) {
  if (error instanceof DOMException) {
    switch (error.name) {
      case "NotAllowedError":
        return "No passkey was shown: it was cancelled, it took too long, or there is none for this server here.";
      case "InvalidStateError":
        return "This passkey is enrolled already.";
      case "SecurityError":
        return "This browser does not show passkeys at this address.";
      default:
        return `The browser refused: ${error.name}.`;
    }
  }
  if (error instanceof TypeError) {
    return "The server could not be reached. Nothing was done.";
  }
  if (error instanceof Error) {
    const todo = /** @type {any} */ (error).todo;
    const sentence = `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`;
    return todo ? `${sentence} ${todo.charAt(0).toUpperCase()}${todo.slice(1)}.` : sentence;
  }
  return "Something went wrong. Nothing was done.";
}
