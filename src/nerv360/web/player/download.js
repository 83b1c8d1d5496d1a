/** Downloads from a server that may be gone, or fall silent. */

import { BrokenFile, ServerGone } from "./errors.js";

export const SILENT_MS = 10_000; // without a byte, after which a server counts as gone
const CHECK_MS = 1000;

let heardAt = 0; // milliseconds: when a byte came last

/**
 * Download a file or a range of it. Throws ServerGone where it does not, or has no file at present, and BrokenFile where it refuses.
 * @param {string | URL} address @param {string} label it is, for people @param {RequestInit} options of the request
 * @param {(received: number, total: number | null) => void} report after each part, in bytes; total: where the server tells it
 * @returns {Promise<{response: Response, data: Uint8Array<ArrayBuffer>}>}
 */
export async function download(address, label, options = {}, report = () => {}) {
  const stop = new AbortController();
  let timer = 0;
  const restartTimer = () => {
    clearTimeout(timer);
    timer = Number(setTimeout(() => stop.abort(), SILENT_MS));
  };
  restartTimer();
  try {
    const response = await fetch(address, { ...options, signal: stop.signal });
    if (response.status === 409) throw new ServerGone("The video was replaced.");
    if (response.status >= 500) throw new ServerGone();
    if (!response.ok) throw new BrokenFile(`${label} cannot be read: the server answers ${response.status}.`);
    const encoded = response.headers.has("Content-Encoding"); // then its length is not that of the data
    const total = encoded ? null : Number(response.headers.get("Content-Length")) || null;
    const parts = [];
    let received = 0;
    const reader = response.body?.getReader();
    for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
      parts.push(part.value);
      received += part.value.length;
      report(received, total);
      restartTimer();
      heardAt = performance.now();
    }
    return { response, data: new Uint8Array(await new Blob(parts).arrayBuffer()) };
  } catch (error) {
    throw error instanceof BrokenFile || error instanceof ServerGone ? error : new ServerGone();
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Import a module. What the server answers tells why it failed.
 * @param {() => Promise<any>} load imports it, by a name that bundlers can read
 * @param {string | URL} address of it @param {string} label
 * @param {() => void} late called where it is, and no byte of anything else comes either; a worker tells its page
 * @returns {Promise<any>}
 */
export async function importModule(load, address, label, late = () => self.postMessage({ late: true })) {
  const began = performance.now();
  const check = () => {
    if (performance.now() - Math.max(began, heardAt) > SILENT_MS) late();
  };
  const timer = setInterval(check, CHECK_MS);
  try {
    return await load();
  } catch (error) {
    await download(address, label);
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/** Download JSON. @param {string | URL} address @param {string} label @returns {Promise<any>} */
export async function downloadJson(address, label) {
  const { data } = await download(address, label);
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    throw new BrokenFile(`${label} is not what it should be.`);
  }
}
