/**
 * Decodes views of a .nerv360 file, off the main thread.
 *
 *     bytes by range ─ chunks ─ latents of the frame ─ features ─ sampled along the view's rays ─ draw (ONNX) ─ pixels
 *
 * Until a network of nerv360-grid is there, a view is answered with a preview, which needs none.
 */

import { readPart, readTables, readWeights, tensorShapes } from "./chunks.js";
import { Container, chunkOf, frameOfKey, keysAt } from "./container.js";
import { download } from "./download.js";
import { PlayerError, Unsupported } from "./errors.js";
import { rotation } from "./geometry.js";
import { GridInputs, GridPreview, PaperInputs } from "./network.js";
import { loadRuntime } from "./runtime.js";

/**
 * @typedef {import("./container.js").Segment} Segment
 * @typedef {import("./network.js").Keyed} Keyed
 * @typedef {{session: Promise<any>, inputs: GridInputs | PaperInputs, preview: GridPreview | null,
 *   tables: import("./chunks.js").Tables}} Loaded preview: until the session is there
 */

const NETWORKS_KEPT = 2;
const PARTS_KEPT = 2; // of each latent
const PARTS_ROOM = 1 << 26; // bytes: more of them are kept while all take no more
const MAX_THREADS = 4;

/** At most so many entries, or more while their sizes add up to no more than `room`; the one not used for longest goes. @template V */
class Kept {
  /** @type {Map<string | number, V>} */ #entries = new Map();

  /** @param {number} most @param {number} room @param {(value: V) => number} size */
  constructor(most, room = 0, size = () => Infinity) {
    this.most = most;
    this.room = room;
    this.size = size;
  }

  /** @param {string | number} key @param {() => V} make @returns {V} */
  get(key, make) {
    const value = this.#entries.get(key) ?? make();
    this.#entries.delete(key);
    this.#entries.set(key, value);
    while (this.#entries.size > this.most && this.#total() > this.room)
      this.#entries.delete(/** @type {string} */ (this.#entries.keys().next().value));
    return value;
  }

  #total() {
    let total = 0;
    for (const value of this.#entries.values()) total += this.size(value);
    return total;
  }

  /** @param {string | number} key */
  forget(key) {
    this.#entries.delete(key);
  }
}

class Decoder {
  /** @type {Kept<Promise<Loaded>>} */ #networks = new Kept(NETWORKS_KEPT);
  /** @type {Kept<Float32Array>} */ #parts = new Kept(0, PARTS_ROOM, (part) => part.byteLength);
  /** @type {{frame: number, features: Keyed[]} | null} */ #features = null;
  #previewed = ""; // asked for again, it waits for the network

  /**
   * @param {Container} container @param {string[]} networks addresses of the segments' graphs
   * @param {Promise<any>} runtime ONNX Runtime Web @param {import("./runtime.js").Provider} provider
   */
  constructor(container, networks, runtime, provider) {
    this.container = container;
    this.runtime = runtime;
    this.provider = provider;
    this.networks = networks;
  }

  /** @param {number} frame @param {import("./geometry.js").Viewport} view */
  async decode(frame, view) {
    const segment = await this.container.segmentOf(frame);
    await this.container.fetch(segment, this.container.chunksFor(segment, frame));
    const { session, inputs, preview, tables } = await this.#network(segment);
    const index = frame - segment.firstFrame;
    const camera = tables.angles && rotation(tables.angles[index]);
    const asked = JSON.stringify([frame, view]);
    if (preview && asked !== this.#previewed) {
      this.#previewed = asked;
      const began = performance.now();
      const coarse = segment.latents.filter(({ stride }) => stride >= preview.cell);
      const picture = preview.draw(this.#latents(segment, coarse, index, tables), view, camera);
      return { ...picture, milliseconds: performance.now() - began, preview: true };
    }
    const network = await session;
    const { Tensor } = await this.runtime;
    const began = performance.now();
    const time = (index + 0.5) / segment.frames;
    if (this.#features?.frame !== frame)
      this.#features = { frame, features: inputs.features(this.#latents(segment, segment.latents, index, tables), time) };
    // only nerv360-grid has a camera that turns: the other inputs take none
    const { sampled, modulations } = inputs.gather(this.#features.features, view, /** @type {null} */ (camera), time);
    /** @type {Record<string, any>} */
    const feeds = {};
    sampled.forEach(({ data, dims }, i) => (feeds[`sampled${i}`] = new Tensor("float32", data, dims)));
    modulations.forEach(({ data, dims }, i) => (feeds[`modulation${i}`] = new Tensor("float32", data, dims)));
    const { picture } = await network.run(feeds);
    const pixels = /** @type {Uint8Array} */ (picture.data).slice();
    const { width, height } = view;
    return { pixels, rowLength: picture.dims[2], width, height, milliseconds: performance.now() - began, preview: false };
  }

  /** Wait for the network of a frame. @param {number} frame */
  async ready(frame) {
    const { session } = await this.#network(await this.container.segmentOf(frame));
    await session;
  }

  /** Have at hand what playing on will need: bytes, and the network of the next segment. @param {number} frame */
  async readAhead(frame) {
    const ahead = frame + (await this.container.segmentOf(frame)).groupSize;
    if (ahead >= this.container.frames) return;
    const segment = await this.container.segmentOf(ahead);
    const needed = [segment.firstFrame, ahead].filter((wanted) => wanted > frame).flatMap((wanted) => this.container.chunksFor(segment, wanted));
    await this.container.fetch(segment, [...new Set(needed)]);
    await this.#network(segment);
  }

  /** @param {Segment} segment @returns {Promise<Loaded>} */
  #network(segment) {
    return this.#networks.get(segment.index, () => {
      const loading = this.#load(segment);
      loading.catch(() => this.#networks.forget(segment.index)); // it may be had the next time
      return loading;
    });
  }

  /** @param {Segment} segment @returns {Promise<Loaded>} */
  async #load(segment) {
    const { network, latents } = segment;
    this.#parts.most = Math.max(this.#parts.most, PARTS_KEPT * latents.length);
    const { weights, all } = readWeights(this.container.chunk(segment, 0), tensorShapes({ ...network, latents }));
    const tables = await readTables(this.container.chunk(segment, 1), segment);
    const session = this.#session(segment, all);
    const grid = network.model === "nerv360-grid";
    const inputs = grid ? new GridInputs(network) : new PaperInputs(network, weights);
    /** @type {Loaded} */
    const loaded = { session, inputs, preview: grid ? new GridPreview(network, weights) : null, tables };
    session.then(() => (loaded.preview = null), () => this.#networks.forget(segment.index));
    return loaded;
  }

  /** @param {Segment} segment @param {Float32Array} weights all of them */
  async #session(segment, weights) {
    const { data: graph } = await download(this.networks[segment.index], "The network");
    received += graph.length;
    const { InferenceSession } = await this.runtime;
    const session = InferenceSession.create(graph, {
      executionProviders: [this.provider],
      externalData: [{ path: "weights", data: new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength) }],
    });
    return session.catch((/** @type {unknown} */ error) => {
      lost = true; // the first one compiles the runtime
      throw error;
    });
  }

  /**
   * Latents around a frame of the segment.
   * @param {Segment} segment @param {import("./container.js").Latent[]} latents of it @param {number} frame
   * @param {import("./chunks.js").Tables} tables
   * @returns {Keyed[]}
   */
  #latents(segment, latents, frame, tables) {
    return latents.map((entry) => {
      const { stride, channels, rows, columns, period, motion } = entry;
      const latent = segment.latents.indexOf(entry);
      const size = channels * rows * columns;
      const keys = keysAt(period, frame, segment.frames).map(([key, weight]) => {
        const chunk = chunkOf(segment, latent, key);
        const part = segment.parts[chunk - 2];
        const values = this.#parts.get(`${segment.index} ${chunk}`, () =>
          readPart(this.container.chunk(segment, chunk), segment, part, tables),
        );
        const at = (key - part.firstKey) * size;
        return { weight, frames: period ? frame - frameOfKey(period, key, segment.frames) : 0, data: values.subarray(at, at + size) };
      });
      return { stride, motion, channels, rows, columns, keys };
    });
  }
}

/** @type {Decoder | null} */
let decoder = null;
let received = 0;
let lost = false; // ONNX Runtime is not loaded twice: it takes another worker

/** @param {{manifest: import("./player.js").Manifest, base: string, threads: number, provider: import("./runtime.js").Provider}} message */
async function open({ manifest, base, threads, provider }) {
  const most = self.crossOriginIsolated ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1) : 1;
  const count = threads > 0 ? Math.min(threads, most) : most;
  const runtime = loadRuntime(provider, count, (progress) => self.postMessage({ progress }));
  runtime.catch(() => (lost = true)); // whoever needs it is told why
  const container = await Container.open(new URL(manifest.video, base).href);
  const networks = (manifest.networks ?? []).map((name) => new URL(name, base).href);
  decoder = new Decoder(container, networks, runtime, provider);
  return { description: provider === "webgpu" ? "WebGPU" : `WebAssembly, ${count} ${count === 1 ? "thread" : "threads"}` };
}

/** @param {{frame: number}} message */
async function ready({ frame }) {
  if (!decoder) throw new Unsupported("not open");
  await decoder.ready(frame);
  return { frame };
}

/** @param {{frame: number, view: import("./geometry.js").Viewport}} message */
async function decode({ frame, view }) {
  if (!decoder) throw new Unsupported("not open");
  const answer = await decoder.decode(frame, view);
  decoder.readAhead(frame).catch(() => {}); // what is missing then is asked for again
  return { ...answer, bytes: decoder.container.reader.received + received };
}

self.onmessage = async ({ data }) => {
  try {
    const answer = await { open, ready, decode }[/** @type {"open" | "ready" | "decode"} */ (data.task)](data);
    const transfer = "pixels" in answer ? [answer.pixels.buffer] : [];
    self.postMessage({ id: data.id, answer }, { transfer });
  } catch (error) {
    const kind = error instanceof PlayerError ? error.kind : "broken";
    self.postMessage({ id: data.id, error: { kind, message: error instanceof Error ? error.message : String(error) }, lost });
  }
};
