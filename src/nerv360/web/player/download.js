/** Bytes behind an address, from a server that may be gone, or say nothing any more. */

import { BrokenFile, ServerGone } from "./errors.js";

export const SILENT_MS = 10_000; // until no more is waited for

/**
 * All that a server answers. Throws ServerGone where it does not, or has no file at present, and BrokenFile where it refuses.
 * @param {string | URL} address @param {string} what it is, for people @param {HeadersInit} headers
 * @param {(received: number, total: number | null) => void} report after each piece, in bytes; total: where the server tells it
 * @returns {Promise<{response: Response, data: Uint8Array<ArrayBuffer>}>}
 */
export async function download(address, what, headers = {}, report = () => {}) {
  const stop = new AbortController();
  let silence = 0;
  const heard = () => {
    clearTimeout(silence);
    silence = Number(setTimeout(() => stop.abort(), SILENT_MS));
  };
  heard();
  try {
    const response = await fetch(address, { headers, signal: stop.signal });
    if (response.status === 409) throw new ServerGone("The video was replaced.");
    if (response.status >= 500) throw new ServerGone();
    if (!response.ok) throw new BrokenFile(`${what} cannot be read: the server answers ${response.status}.`);
    const encoded = response.headers.has("Content-Encoding"); // then its length is not that of the data
    const total = encoded ? null : Number(response.headers.get("Content-Length")) || null;
    const pieces = [];
    let received = 0;
    const reader = response.body?.getReader();
    for (let piece = await reader?.read(); piece?.value; piece = await reader?.read()) {
      pieces.push(piece.value);
      received += piece.value.length;
      report(received, total);
      heard();
    }
    return { response, data: new Uint8Array(await new Blob(pieces).arrayBuffer()) };
  } catch (error) {
    throw error instanceof BrokenFile || error instanceof ServerGone ? error : new ServerGone();
  } finally {
    clearTimeout(silence);
  }
}

/** The same, as JSON. @param {string | URL} address @param {string} what @returns {Promise<any>} */
export async function downloadJson(address, what) {
  const { data } = await download(address, what);
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    throw new BrokenFile(`${what} is not what it should be.`);
  }
}
