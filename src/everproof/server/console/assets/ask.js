// @ts-check
/**
 * Asks this server's own addresses, as the person whose cookie the browser has.
 *
 * What comes back is only ever shown as text: nothing here, or in any module of the pages, makes markup of it.
 */

import { renew } from "./session-key.js";

/** What the server says when it does not do what it was asked (RFC 9457). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {Record<string, any>} body
   */
  constructor(status, body) {
    super(String(body.extra?.reason || body.detail || body.title || `the server answered ${status}`));
    this.status = status;
    /** @type {string} */
    this.todo = String(body.todo || "");
    /** @type {Record<string, any>} */
    this.body = body;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {boolean} [again] whether to renew the session's cookie where it has run out, and ask again
 * @returns {Promise<any>}
 */
export async function ask(method, path, body, again = true) {
  const answer = await fetch(path, {
    method,
    credentials: "same-origin",
    redirect: "error",
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  /** @type {any} */
  let found = {};
  try {
    found = text === "" ? {} : JSON.parse(text);
  } catch {
    throw new Problem(answer.status, { detail: `the server answered ${answer.status}, and not in words` });
  }
  if (!answer.ok) {
    if (found.code === "session-key-wanted" && again && (await renew())) {
      return ask(method, path, body, false);
    }
    throw new Problem(answer.status, found);
  }
  return found;
}

/**
 * Where to go on, if it is a path of this server; else nowhere.
 *
 * @param {string | undefined} next
 */
export function go(next) {
  const here = new URL(next || "/access", location.origin);
  location.assign(here.origin === location.origin ? here.href : "/access");
}
