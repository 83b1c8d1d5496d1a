/**
 * Decodes views of frames of networks: chunks -> latents -> samples along the view's rays -> `draw` (an ONNX graph) -> pixels.
 *
 * Until a network of nerv360-grid is loaded, a view is answered with a preview, which needs none.
 */

import { download } from "../download.js";
import { GridInputs, GridPreview } from "./grid-network.js";
import { chunksOfFrame } from "../layout.js";
import { LatentReader, cameraOf } from "../network/latent-reader.js";
import { LRUCache } from "../lru-cache.js";
import { PaperInputs } from "./paper-network.js";
import { loadRuntime } from "./runtime.js";

/**
 * @typedef {import("../network/chunks.js").LatentTables} LatentTables
 * @typedef {import("../segments.js").NetworkSegment} NetworkSegment
 * @typedef {import("../geometry.js").Viewport} Viewport
 * @typedef {import("../network/tensors.js").FrameLatent} FrameLatent
 * @typedef {{session: Promise<any>, inputs: GridInputs | PaperInputs, preview: GridPreview | null, tables: LatentTables}} LoadedSegment
 *   session: of ONNX Runtime; preview: until the session is there
 * @typedef {import("../worker.js").DecodedView} DecodedView
 */

const CACHED_NETWORKS = 2;
const CACHED_GRAPHS = 256; // some 20 kB each: a loop over many segments fetches them once

export class NetworkDecoder {
  received = 0; // bytes of graphs
  /** @type {LRUCache<Promise<LoadedSegment>>} */ #segments = new LRUCache(CACHED_NETWORKS);
  /** @type {LRUCache<Promise<Uint8Array<ArrayBuffer>>>} */ #graphs = new LRUCache(CACHED_GRAPHS);
  /** @type {{frame: number, features: FrameLatent[]} | null} */ #features = null;
  #previewedRequest = ""; // asked for again, it waits for the network

  /**
   * Load ONNX Runtime while the file is opened.
   * @param {Promise<import("../container.js").Container>} opening @param {string[]} graphs addresses, by segment
   * @param {import("./runtime.js").Provider} provider @param {number} threads
   * @param {(progress: import("./runtime.js").Progress | null) => void} report @param {() => void} lost another worker is needed
   */
  static async open(opening, graphs, provider, threads, report, lost) {
    const runtime = loadRuntime(provider, threads, report);
    runtime.catch(lost); // whoever needs it is told why
    return new NetworkDecoder(await opening, graphs, runtime, provider, lost);
  }

  /**
   * @param {import("../container.js").Container} container @param {string[]} graphs addresses, by segment
   * @param {Promise<any>} runtime ONNX Runtime Web @param {import("./runtime.js").Provider} provider
   * @param {() => void} runtimeFailed called where a session cannot be made
   */
  constructor(container, graphs, runtime, provider, runtimeFailed) {
    this.container = container;
    this.reader = new LatentReader(container);
    this.graphs = graphs;
    this.runtime = runtime;
    this.provider = provider;
    this.runtimeFailed = runtimeFailed;
  }

  /** @param {NetworkSegment} segment @param {number} frame @param {Viewport} view @returns {Promise<DecodedView>} */
  async decode(segment, frame, view) {
    await this.container.fetch(segment, chunksOfFrame(segment, frame));
    const loaded = await this.#load(segment);
    const request = JSON.stringify([frame, view]);
    if (!loaded.preview || request === this.#previewedRequest) return this.#draw(segment, loaded, frame, view);
    this.#previewedRequest = request;
    return this.#drawPreview(segment, loaded, loaded.preview, frame, view);
  }

  /** Wait for the network of a segment. @param {NetworkSegment} segment */
  async ready(segment) {
    const { session } = await this.#load(segment);
    await session;
  }

  /** Fetch and load what playing on needs: the next key groups, and the network of the next segment. @param {NetworkSegment} present @param {number} frame */
  async readAhead(present, frame) {
    const ahead = frame + present.groupSize;
    if (ahead >= this.container.frames) return;
    const segment = await this.container.segmentOf(ahead);
    if (segment.kind !== "network") return;
    const frames = [segment.firstFrame, ahead].filter((next) => next > frame);
    const chunks = frames.flatMap((next) => chunksOfFrame(segment, next));
    await this.container.fetch(segment, [...new Set(chunks)]);
    await this.#load(segment);
  }

  /** @param {NetworkSegment} segment @param {LoadedSegment} loaded @param {number} frame @param {Viewport} view @returns {Promise<DecodedView>} */
  async #draw(segment, { session, inputs, tables }, frame, view) {
    const network = await session;
    const { Tensor } = await this.runtime;
    const began = performance.now();
    const index = frame - segment.firstFrame;
    const time = (index + 0.5) / segment.frames;
    if (this.#features?.frame !== frame)
      this.#features = { frame, features: inputs.features(this.reader.latents(segment, segment.latents, index, tables), time) };
    const camera = cameraOf(tables, index); // only nerv360-grid has one that turns: the other inputs take none
    const { sampled, modulations } = inputs.gather(this.#features.features, view, /** @type {null} */ (camera), time);
    /** @type {Record<string, any>} */
    const feeds = {};
    sampled.forEach(({ data, dims }, i) => (feeds[`sampled${i}`] = new Tensor("float32", data, dims)));
    modulations.forEach(({ data, dims }, i) => (feeds[`modulation${i}`] = new Tensor("float32", data, dims)));
    const { picture } = await network.run(feeds);
    const pixels = /** @type {Uint8Array} */ (picture.data).slice();
    const shown = { pixels, rowLength: picture.dims[2], width: view.width, height: view.height };
    return { picture: shown, milliseconds: performance.now() - began, rough: false, preview: false, facts: {} };
  }

  /**
   * @param {NetworkSegment} segment @param {LoadedSegment} loaded @param {GridPreview} preview @param {number} frame
   * @param {Viewport} view @returns {DecodedView}
   */
  #drawPreview(segment, { tables }, preview, frame, view) {
    const began = performance.now();
    const index = frame - segment.firstFrame;
    const coarse = segment.latents.filter(({ stride }) => stride >= preview.lastStride);
    const picture = preview.draw(this.reader.latents(segment, coarse, index, tables), view, cameraOf(tables, index));
    return { picture, milliseconds: performance.now() - began, rough: true, preview: true, facts: {} };
  }

  /** @param {NetworkSegment} segment @returns {Promise<LoadedSegment>} */
  #load(segment) {
    return this.#segments.get(segment.index, () => {
      const loading = this.#read(segment);
      loading.catch(() => this.#segments.delete(segment.index)); // it may be had the next time
      return loading;
    });
  }

  /** @param {NetworkSegment} segment @returns {Promise<LoadedSegment>} */
  async #read(segment) {
    const { network } = segment;
    const { weights, all, tables } = await this.reader.read(segment);
    const session = this.#createSession(segment, all);
    const grid = network.model === "nerv360-grid";
    const inputs = grid ? new GridInputs(network) : new PaperInputs(network, weights);
    /** @type {LoadedSegment} */
    const loaded = { session, inputs, preview: grid ? new GridPreview(network, weights) : null, tables };
    session.then(() => (loaded.preview = null), () => this.#segments.delete(segment.index));
    return loaded;
  }

  /** @param {NetworkSegment} segment @param {Float32Array} weights all of them */
  async #createSession(segment, weights) {
    const graph = await this.#graph(segment.index);
    const { InferenceSession } = await this.runtime;
    try {
      return await InferenceSession.create(graph, {
        executionProviders: [this.provider],
        externalData: [{ path: "weights", data: new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength) }],
      });
    } catch (error) {
      this.runtimeFailed(); // the first session compiles the runtime
      throw error;
    }
  }

  /** The ONNX graph of a segment, without weights. @param {number} index */
  #graph(index) {
    return this.#graphs.get(index, () => {
      const loading = download(this.graphs[index], "The network").then(({ data }) => data);
      loading.then((data) => (this.received += data.length), () => this.#graphs.delete(index));
      return loading;
    });
  }
}
