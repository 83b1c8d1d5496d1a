/** Byte ranges of a file behind an address. */

import { download } from "./download.js";
import { BrokenFile } from "./errors.js";

const MAX_CACHED_BYTES = 1 << 27;
const MAX_GAP = 128; // bytes that are fetched with their neighbours rather than left out: about what a request takes

/** Bytes behind an address, fetched by HTTP range requests. Responses are cached; the oldest is dropped first. */
export class RangeReader {
  /** @type {{start: number, data: Uint8Array}[]} */ #cached = [];
  /** @type {Set<{start: number, end: number, done: Promise<void>}>} */ #coming = new Set();
  size = 0; // of the whole file, once something was fetched
  received = 0;

  /** @param {string} address */
  constructor(address) {
    this.address = address;
  }

  /** Bytes of a range that was fetched. @param {number} start @param {number} length */
  bytes(start, length) {
    const entry = this.#find(start, length);
    if (!entry) throw new BrokenFile("The file is damaged: it ends too early.");
    return entry.data.subarray(start - entry.start, start - entry.start + length);
  }

  /**
   * Fetch the ranges that are not cached; near ones share a request.
   * @param {{start: number, length: number}[]} ranges @param {number} minLength of each request
   */
  async fetch(ranges, minLength = 0) {
    const coming = [...this.#coming].filter((each) => ranges.some(({ start, length }) => each.start <= start && start + length <= each.end));
    const missing = ranges
      .filter(({ start, length }) => length && !this.#find(start, length) && !coming.some((each) => each.start <= start && start + length <= each.end))
      .map(({ start, length }) => ({ start, end: start + Math.max(length, minLength) }))
      .sort((a, b) => a.start - b.start);
    /** @type {{start: number, end: number}[]} */
    const requests = [];
    for (const range of missing) {
      const last = requests[requests.length - 1];
      if (last && range.start <= last.end + MAX_GAP) last.end = Math.max(last.end, range.end);
      else requests.push(range);
    }
    await Promise.all([...coming.map(({ done }) => done), ...requests.map(({ start, end }) => this.#come(start, end))]);
  }

  /** Request bytes, which nobody else requests meanwhile. */
  async #come(/** @type {number} */ start, /** @type {number} */ end) {
    const coming = { start, end, done: this.#request(start, end) };
    this.#coming.add(coming);
    await coming.done.finally(() => this.#coming.delete(coming));
  }

  /** @param {{start: number, length: number}} range */
  has({ start, length }) {
    return this.#find(start, length) !== undefined;
  }

  #find(/** @type {number} */ start, /** @type {number} */ length) {
    return this.#cached.find((entry) => entry.start <= start && start + length <= entry.start + entry.data.length);
  }

  async #request(/** @type {number} */ start, /** @type {number} */ end) {
    const overlapping = this.#cached.find((entry) => entry.start <= start && start < entry.start + entry.data.length);
    const head = overlapping ? overlapping.data.subarray(start - overlapping.start) : new Uint8Array(0);
    const headers = { Range: `bytes=${start + head.length}-${end - 1}` };
    const { response, data } = await download(this.address, "The video", headers);
    const whole = response.status === 200; // a server without ranges gives all of it
    this.size = whole ? data.length : Number(response.headers.get("Content-Range")?.split("/")[1]);
    this.received += data.length;
    this.#cached.push(whole ? { start: 0, data } : { start, data: concatenate(head, data) });
    while (this.#cached.length > 1 && sum(this.#cached.map((entry) => entry.data.length)) > MAX_CACHED_BYTES) this.#cached.shift();
  }
}

/** @param {Uint8Array} head @param {Uint8Array} tail */
function concatenate(head, tail) {
  if (!head.length) return tail;
  const all = new Uint8Array(head.length + tail.length);
  all.set(head);
  all.set(tail, head.length);
  return all;
}

const sum = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a + b, 0);
