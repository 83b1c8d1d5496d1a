/**
 * The player's decoder over a simulated line, in simulated time, in which decoding takes no more than DECODING_MS: what comes when
 * depends on nothing else.
 *
 *     node benchmarks/streaming/simulate.mjs FILE [FRAMES_PER_SECOND [CONNECTIONS [RATES [LATENCIES [FOLDER_OF_THE_PACKAGE]]]]]
 *
 * Prints a table. FILE is of nerv360-motion with sectors; rates are in mean rates of the file, latencies in milliseconds.
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { inflateSync } from "node:zlib";

const HERE = fileURLToPath(new URL("../../src/nerv360", import.meta.url));
const [file, fps = 25, connections = 6, rates = "0.25,0.5,1,2,4", latencies = "10,100", folder = HERE] = process.argv.slice(2);
const [TICK_MS, DECODING_MS] = [1000 / 60, 8];
const [PACKET, HEADERS] = [1400, 400]; // bytes that a line carries at once, of all answers in turn; of an answer, beside the data
const MOST_DB = 60; // of a picture that is as it should be
const TURNS = 12; // of the event loop, in which whatever waits for nothing is done
const COMPARED = 3; // one picture of so many

const data = readFileSync(file);

// Time

let now = 0;
/** @type {{time: number, run: () => void}[]} */
let events = [];
const at = (time, run) => {
  const event = { time, run };
  events.push(event);
  return event;
};
performance.now = () => now;
globalThis.setTimeout = (run, ms = 0, ...values) => at(now + ms, () => run(...values));
globalThis.clearTimeout = (timer) => (events = events.filter((event) => event !== timer));

/** Let time go on until something is done. @param {() => boolean} done */
async function pass(done) {
  for (;;) {
    for (let turn = 0; turn < TURNS && !done(); turn++) await new Promise((resolve) => setImmediate(resolve));
    if (done()) return;
    const next = events.reduce((first, each) => (each.time < first.time ? each : first));
    events = events.filter((event) => event !== next);
    now = Math.max(now, next.time);
    next.run();
  }
}

/** @template T @param {Promise<T>} promise @returns {Promise<T>} */
async function result(promise) {
  const settled = { done: false };
  promise.finally(() => (settled.done = true)).catch(() => {});
  await pass(() => settled.done);
  return promise;
}

// The line

class Line {
  bytes = 0;
  requests = 0;
  #freeAt = 0;
  #open = 0;
  /** @type {(() => void)[]} */ #waiting = [];

  /** @param {number} rate bytes a millisecond @param {number} latency milliseconds */
  constructor(rate, latency) {
    Object.assign(this, { rate, latency });
  }

  /** @param {number} start @param {number} end @param {(part: Uint8Array | undefined) => void} hear @param {() => void} answered */
  request(start, end, answered, hear) {
    const begin = () => {
      this.#open++;
      this.requests++;
      const times = { requestStart: now, responseStart: 0, responseEnd: 0, encodedBodySize: end - start };
      const carry = (/** @type {number} */ from) => {
        if (from === end) {
          this.#open--;
          this.#waiting.shift()?.();
          tell({ ...times, responseEnd: now });
          return hear(undefined);
        }
        const size = Math.min(PACKET, end - from);
        this.#carry(size, () => {
          this.bytes += size;
          hear(data.subarray(from, from + size));
          carry(from + size);
        });
      };
      at(now + this.latency, () => this.#carry(HEADERS, () => {
        times.responseStart = now;
        answered();
        carry(start);
      }));
    };
    if (this.#open < Number(connections)) begin();
    else this.#waiting.push(begin);
  }

  #carry(/** @type {number} */ size, /** @type {() => void} */ run) {
    this.#freeAt = Math.max(now, this.#freeAt) + size / this.rate;
    at(this.#freeAt, run);
  }
}

let line = new Line(Infinity, 0);
/** @type {((list: object) => void)[]} */
const observers = [];
const tell = (answer) => observers.forEach((hear) => hear({ getEntriesByName: () => [answer] }));
globalThis.PerformanceObserver = class {
  constructor(hear) {
    observers.push(hear);
  }

  observe() {}
};
globalThis.fetch = (_, { headers }) => new Promise((resolve) => {
  const [start, last] = headers.Range.match(/\d+/g).map(Number);
  const end = Math.min(data.length, last + 1);
  /** @type {(Uint8Array | undefined)[]} */
  const parts = [];
  let wake = () => {};
  const read = async () => {
    while (!parts.length) await new Promise((heard) => (wake = heard));
    return { value: parts.shift() };
  };
  const answer = { ok: true, status: 206, body: { getReader: () => ({ read }) } };
  const range = new Headers({ "Content-Range": `bytes ${start}-${end - 1}/${data.length}` });
  line.request(start, end, () => resolve({ ...answer, headers: range }), (part) => {
    parts.push(part);
    wake();
  });
});

// The player

const { Container } = await import(`${folder}/web/player/container.js`);
const { MotionDecoder } = await import(`${folder}/web/player/motion/motion-decoder.js`);
const { regionOf } = await import(`${folder}/web/player/motion/panorama-window.js`);
const read = (name) => readFileSync(`${folder}/motion/${name}`);
const files = WebAssembly.compile(read("core.wasm")).then((code) => ({ code, priors: inflateSync(read("priors.bin")), received: 0 }));
await files;

const PATHS = { // as measure.py has them
  wandering: (t) => [60 * Math.sin(0.9 * t) + 25 * Math.sin(2.3 * t + 1) + 20 * t, 15 * Math.sin(0.7 * t + 2) + 6 * Math.sin(2.9 * t)],
  jumping: (t) => [[0, 0], [140, 20], [-80, -25], [60, 10], [180, -10], [-30, 30]][Math.floor(t) % 6],
};
const viewAt = (path, frame) => {
  const [yawDeg, pitchDeg] = PATHS[path](frame / fps);
  return { yawDeg, pitchDeg, rollDeg: 0, hfovDeg: 78.1, vfovDeg: 49.1, width: 320, height: 180 };
};

async function opened() {
  observers.length = 0;
  const container = await result(Container.open("http://host/video"));
  return { container, decoder: new MotionDecoder(container, files) };
}

/** Play a file once, as a page does: one view at a time, the newest; time stands where a picture takes too long. */
async function play(path) {
  const { container, decoder } = await opened();
  const dueAt = [];
  const shown = [];
  let [time, waited, usual, askedAt, busy, ended, last] = [0, 0, 0, 0, false, false, -1];
  const show = async (frame) => {
    const segment = await container.segmentOf(frame);
    const { picture, rough } = await decoder.decode(segment, frame, viewAt(path, frame), true);
    await new Promise((resolve) => setTimeout(resolve, DECODING_MS));
    usual = 0.7 * usual + 0.3 * (now - askedAt);
    busy = false;
    shown.push({ frame, picture, rough, at: now, late: now - dueAt[frame] });
    decoder.readAhead(segment, frame);
  };
  const tick = () => {
    const stalled = busy && now - askedAt > Math.min(2000, Math.max(400, 4 * usual));
    if (shown.length) stalled ? (waited += TICK_MS) : (time += TICK_MS / 1000);
    const frame = Math.floor(time * fps);
    if (frame >= container.frames) return (ended = true);
    at(now + TICK_MS, tick);
    dueAt[frame] ??= now;
    if (busy || frame === last) return;
    [busy, askedAt, last] = [true, now, frame];
    show(frame);
  };
  tick();
  await pass(() => ended);
  return { shown, waited };
}

/** A picture of all sectors. */
const whole = await (async () => {
  const { container, decoder } = await opened();
  const known = new Map();
  return async (path, frame) => {
    const key = `${path} ${frame}`;
    for (let rough = !known.has(key); rough; ) {
      const answer = await result(container.segmentOf(frame).then((segment) => decoder.decode(segment, frame, viewAt(path, frame), false)));
      known.set(key, answer.picture);
      rough = answer.rough;
    }
    return known.get(key);
  };
})();

/** PSNR of a picture within its view. */
function likeness(picture, other, view) {
  const { window, panorama } = picture;
  const { top, left, height, width } = regionOf(view, panorama.width, panorama.height);
  let [error, count] = [0, 0];
  for (let row = top - window.top; row < top + height - window.top; row++)
    for (let column = left - window.left; column < left + width - window.left; column++) {
      const x = ((column % panorama.width) + panorama.width) % panorama.width;
      if (row < 0 || row >= window.height || x >= window.width) continue; // what interpolation takes at the edge
      const place = 3 * (row * window.width + x);
      for (let colour = place; colour < place + 3; colour++) error += (picture.pixels[colour] - other.pixels[colour]) ** 2;
      count += 3;
    }
  return Math.min(MOST_DB, 10 * Math.log10(255 ** 2 / (error / count)));
}

const mean = (numbers) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
const quantile = (numbers, part) => [...numbers].sort((a, b) => a - b)[Math.floor(part * (numbers.length - 1))];
const frames = (await opened()).container.frames;
const row = (values) => console.log(values.join("\t"));
row(["view", "connections", "rate", "latency_ms", "first_s", "waited_s", "shown", "sharp", "late_ms_p95", "psnr_db", "psnr_db_p5", "requests", "of_file"]);
for (const path of Object.keys(PATHS))
  for (const latency of latencies.split(",").map(Number))
    for (const rate of rates.split(",").map(Number)) {
      [now, events] = [0, []];
      line = new Line((rate * data.length * fps) / frames / 1000, latency);
      const { shown, waited } = await play(path);
      const { requests, bytes } = line;
      events = [];
      line = new Line(Infinity, 0);
      const decibels = [];
      for (const { frame, picture } of shown.filter((_, index) => index % COMPARED === 0)) decibels.push(likeness(picture, await whole(path, frame), viewAt(path, frame)));
      const share = (some) => ((100 * new Set(some.map(({ frame }) => frame)).size) / frames).toFixed(0);
      const times = [shown[0].at, waited].map((ms) => (ms / 1000).toFixed(2));
      const late = quantile(shown.map((each) => each.late), 0.95).toFixed(0);
      const quality = [mean(decibels), quantile(decibels, 0.05)].map((each) => each.toFixed(1));
      row([path, connections, rate, latency, ...times, share(shown), share(shown.filter(({ rough }) => !rough)), late, ...quality, requests, ((100 * bytes) / data.length).toFixed(0)]);
    }
