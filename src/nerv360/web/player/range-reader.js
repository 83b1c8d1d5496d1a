/** Byte ranges of a file behind an address. */

import { download } from "./download.js";
import { BrokenFile } from "./errors.js";
import { LineEstimate } from "./line-estimate.js";

/** @typedef {{start: number, length: number}} Range */
/** @typedef {{start: number, end: number, askedAt: number, done: Promise<void>}} Coming */

const MAX_CACHED_BYTES = 1 << 27;
const GAP = { min: 256, max: 4096 }; // bytes that are fetched with their neighbours rather than left out
const WRONG_RANGE = "The video cannot be read: the server sends other bytes than it was asked for, or does not tell which (Content-Range).";
const CONNECTIONS = 6; // requests that browsers have open at a time

/** Bytes behind an address, fetched by HTTP range requests. Responses are cached; the oldest is dropped first. */
export class RangeReader {
  /** @type {{start: number, data: Uint8Array}[]} */ #cached = [];
  /** @type {Set<Coming>} */ #coming = new Set();
  line = new LineEstimate();
  size = 0; // of the whole file, once something was fetched
  received = 0;

  /** @param {string} address */
  constructor(address) {
    this.address = address;
  }

  /** Measure the line for as long as this thread lives, by times that do not depend on when it comes to an answer. */
  measure() {
    const answers = new PerformanceObserver((list) => {
      for (const answer of list.getEntriesByName(this.address)) this.#heed(/** @type {PerformanceResourceTiming} */ (answer));
    });
    answers.observe({ type: "resource", buffered: true });
  }

  /** Bytes that were asked for, and have not come. */
  get coming() {
    return sum([...this.#coming].map(({ start, end }) => end - start));
  }

  /** Bytes of a range that was fetched. @param {number} start @param {number} length */
  bytes(start, length) {
    const entry = this.#find(start, length);
    if (!entry) throw new BrokenFile("The file is damaged: it ends too early.");
    return entry.data.subarray(start - entry.start, start - entry.start + length);
  }

  /** Fetch the ranges that are not cached. @param {Range[]} ranges @param {number} minLength of each request */
  async fetch(ranges, minLength = 0) {
    this.#ask(this.#requestsFor(ranges, minLength));
    await Promise.all([...this.#coming].filter((each) => ranges.some((range) => covers(each, range))).map(({ done }) => done));
  }

  /** Ask for ranges that are not cached, as far as no request has to wait for others. @param {Range[]} ranges the most urgent first */
  ask(ranges) {
    this.#ask(this.#requestsFor(ranges).slice(0, Math.max(0, CONNECTIONS - this.#coming.size)));
  }

  /** Wait for the next answer; says whether there is one to wait for. */
  async next() {
    if (!this.#coming.size) return false;
    await Promise.race([...this.#coming].map(({ done }) => done));
    return true;
  }

  /** @param {Range} range */
  has({ start, length }) {
    return this.#find(start, length) !== undefined;
  }

  /** Whether a range was never asked for. @param {Range} range */
  lacks(range) {
    return range.length > 0 && !this.has(range) && ![...this.#coming].some((each) => covers(each, range));
  }

  /** Bytes that the line carries while a request waits for its answer, beside the others. */
  get #gap() {
    return Math.min(GAP.max, Math.max(GAP.min, (this.line.rate * this.line.latency) / CONNECTIONS));
  }

  /** What to ask for, the most urgent first: near ranges share a request. @param {Range[]} ranges @param {number} minLength */
  #requestsFor(ranges, minLength = 0) {
    const missing = ranges
      .filter((range) => this.lacks(range))
      .map(({ start, length }, place) => ({ start, end: start + Math.max(length, minLength), place }))
      .sort((a, b) => a.start - b.start);
    /** @type {{start: number, end: number, place: number}[]} */
    const requests = [];
    for (const range of missing) {
      const last = requests[requests.length - 1];
      if (last && range.start <= last.end + this.#gap) Object.assign(last, { end: Math.max(last.end, range.end), place: Math.min(last.place, range.place) });
      else requests.push(range);
    }
    return requests.sort((a, b) => a.place - b.place);
  }

  #ask(/** @type {{start: number, end: number}[]} */ requests) {
    for (const { start, end } of requests) {
      const coming = { start, end, askedAt: performance.now(), done: Promise.resolve() };
      this.#coming.add(coming);
      coming.done = this.#request(coming).finally(() => this.#coming.delete(coming));
      coming.done.catch(() => {}); // whoever needs it asks again
    }
  }

  #find(/** @type {number} */ start, /** @type {number} */ length) {
    return this.#cached.find((entry) => entry.start <= start && start + length <= entry.start + entry.data.length);
  }

  async #request(/** @type {Coming} */ { start, end }) {
    const overlapping = this.#cached.find((entry) => entry.start <= start && start < entry.start + entry.data.length);
    const head = overlapping ? overlapping.data.subarray(start - overlapping.start) : new Uint8Array(0);
    const first = start + head.length;
    /** @type {RequestInit} */
    const options = { headers: { Range: `bytes=${first}-${end - 1}` }, cache: "no-store" }; // at the browser's cache, requests wait for each other
    const { response, data } = await download(this.address, "The video", options);
    const whole = response.status === 200; // a server without ranges gives all of it
    const [from, to, size] = response.headers.get("Content-Range")?.match(/\d+/g)?.map(Number) ?? [];
    if (!whole && (from !== first || to - from + 1 !== data.length)) throw new BrokenFile(WRONG_RANGE);
    this.size = whole ? data.length : size;
    this.received += data.length;
    this.#cached.push(whole ? { start: 0, data } : { start, data: concatenate(head, data) });
    while (this.#cached.length > 1 && sum(this.#cached.map((entry) => entry.data.length)) > MAX_CACHED_BYTES) this.#cached.shift();
  }

  #heed(/** @type {PerformanceResourceTiming} */ { requestStart, responseStart, responseEnd, encodedBodySize }) {
    if (!encodedBodySize) return; // another host does not tell, unless it allows that
    this.line.answered(responseStart - requestStart);
    this.line.heard(encodedBodySize, responseEnd, Math.min(requestStart, ...[...this.#coming].map(({ askedAt }) => askedAt)));
  }
}

/** @param {Coming} coming @param {Range} range */
const covers = (coming, { start, length }) => coming.start <= start && start + length <= coming.end;

/** @param {Uint8Array} head @param {Uint8Array} tail */
function concatenate(head, tail) {
  if (!head.length) return tail;
  const all = new Uint8Array(head.length + tail.length);
  all.set(head);
  all.set(tail, head.length);
  return all;
}

const sum = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a + b, 0);
