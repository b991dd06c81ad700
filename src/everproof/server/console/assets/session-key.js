// @ts-check
/**
 * The key of a session: made in this browser, and never to leave it, so that a copied cookie is soon worth nothing.
 *
 * It is shown by a DPoP proof (RFC 9449). Without it all pages work as well; the session only ends sooner.
 */

const STORE = "keys";
const LOCK = "everproof-session-key";
const RENEW_MS = 5 * 60 * 1000;
const RETRY_MS = 60 * 1000;
const NEVER = Infinity;

const text = new TextEncoder();

/** @param {ArrayBuffer | Uint8Array} bytes */
function b64url(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** @returns {Promise<IDBDatabase>} */
function database() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("everproof", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(keys: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>}
 */
async function stored(mode, work) {
  const opened = await database();
  try {
    return await new Promise((resolve, reject) => {
      const doing = work(opened.transaction(STORE, mode).objectStore(STORE));
      doing.onsuccess = () => resolve(doing.result);
      doing.onerror = () => reject(doing.error);
    });
  } finally {
    opened.close();
  }
}

/**
 * @param {CryptoKeyPair} pair
 * @param {string} path
 * @param {string} nonce
 */
async function proof(pair, path, nonce) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const head = { typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y } };
  const claims = {
    htm: "POST",
    htu: location.origin + path,
    iat: Math.floor(Date.now() / 1000),
    jti: b64url(crypto.getRandomValues(new Uint8Array(16))),
    ...(nonce ? { nonce } : {}),
  };
  const signed = [head, claims].map((part) => b64url(text.encode(JSON.stringify(part)))).join(".");
  const how = { name: "ECDSA", hash: "SHA-256" };
  return `${signed}.${b64url(await crypto.subtle.sign(how, pair.privateKey, text.encode(signed)))}`;
}

/**
 * Show the key at one of the session's own addresses.
 *
 * @param {CryptoKeyPair} pair
 * @param {string} path
 * @returns {Promise<Response>}
 */
async function shown(pair, path) {
  let answer = await post(path, await proof(pair, path, ""));
  const nonce = answer.headers.get("dpop-nonce");
  if (answer.status === 401 && nonce) {
    answer = await post(path, await proof(pair, path, nonce));
  }
  return answer;
}

/**
 * @param {string} path
 * @param {string} dpop
 */
function post(path, dpop) {
  return fetch(path, { method: "POST", credentials: "same-origin", redirect: "error", headers: { dpop } });
}

/** Give the session a key of its own, once. */
async function bind() {
  const ecdsa = { name: "ECDSA", namedCurve: "P-256" };
  const pair = await crypto.subtle.generateKey(ecdsa, false, ["sign", "verify"]);
  await stored("readwrite", (keys) => keys.put(pair, "waiting"));
  const answer = await shown(pair, "/session/key");
  if (answer.ok) {
    await stored("readwrite", (keys) => keys.put(pair, "current"));
  }
  return answer;
}

/**
 * Renew the session's cookie; whether that came off.
 *
 * @returns {Promise<boolean>}
 */
export function renew() {
  return navigator.locks.request(LOCK, async () => {
    let refused = false;
    for (const name of ["current", "waiting"]) {
      const pair = await stored("readonly", (keys) => keys.get(name));
      const answer = pair ? await shown(pair, "/session/refresh") : null;
      if (answer?.ok) {
        return true;
      }
      refused ||= answer?.status === 403;
    }
    if (refused) {
      // The session has a key, and it is not of this browser: somebody else has its cookie, and loses it now.
      await fetch("/session/end", { method: "POST", credentials: "same-origin", redirect: "error" });
    }
    return false;
  });
}

/** Look after the key for as long as the page is open. */
export async function keep() {
  let wait = RETRY_MS;
  try {
    wait = await navigator.locks.request(LOCK, bound);
    if (wait <= 0) {
      wait = (await renew()) ? RENEW_MS : NEVER;
    }
  } catch {
    // There is no network, or the browser keeps no keys for this address: what is signed in stays so for a shorter time.
  }
  if (wait !== NEVER) {
    setTimeout(keep, wait);
  }
}

/**
 * Have the session bound to a key.
 *
 * @returns {Promise<number>} in how many milliseconds its cookie wants to be renewed
 */
async function bound() {
  const answer = await fetch("/session", { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) {
    return answer.status === 401 ? 0 : RETRY_MS;
  }
  const session = await answer.json();
  if (session.key_bound) {
    return session.cookie_until ? Date.parse(session.cookie_until) - Date.now() - RENEW_MS : NEVER;
  }
  return (await bind()).ok ? RENEW_MS : NEVER;
}
