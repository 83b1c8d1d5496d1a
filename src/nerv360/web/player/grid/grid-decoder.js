/** Decodes views of frames of nerv360-grid: chunks -> keys around the frame -> textures -> passes of grid.glsl -> picture. */

import { download } from "../download.js";
import { multiply, rotation } from "../geometry.js";
import { chunksOfFrame } from "../layout.js";
import { LatentReader, cameraOf } from "../network/latent-reader.js";
import { LRUCache } from "../lru-cache.js";
import { Unsupported } from "../errors.js";
import { GridShader } from "./grid-shader.js";
import { passesOf } from "./passes.js";

/**
 * @typedef {import("../segments.js").NetworkSegment} NetworkSegment
 * @typedef {import("../geometry.js").Viewport} Viewport
 * @typedef {{passes: import("./passes.js").Passes, tables: import("../network/chunks.js").LatentTables}} LoadedSegment
 * @typedef {{texture: WebGLTexture, bytes: number}} KeyTexture
 * @typedef {{shader: GridShader, segments: LRUCache<Promise<LoadedSegment>>, textures: LRUCache<KeyTexture>}} Context of WebGL, and what
 *   is in it
 */

const CACHED_SEGMENTS = 3; // a view may be drawn while others are read ahead
const CACHED_BYTES = 1 << 27; // of keys as textures: more than those of two frames are cached while all take no more
const BYTES_PER_VALUE = 2;

export class GridDecoder {
  received = 0; // bytes of shaders
  /** @type {Context} */ #context;

  /** Throws Unsupported where this browser's WebGL cannot draw it. @param {Promise<import("../container.js").Container>} opening */
  static async open(opening) {
    const { data } = await download(new URL("./grid.glsl", import.meta.url), "The decoder");
    const decoder = new GridDecoder(await opening, new TextDecoder().decode(data));
    decoder.received = data.length;
    return decoder;
  }

  /** @param {import("../container.js").Container} container @param {string} source of the shaders */
  constructor(container, source) {
    this.container = container;
    this.reader = new LatentReader(container);
    this.source = source;
    this.#context = createContext(source);
  }

  /** @param {NetworkSegment} segment @param {number} frame @param {Viewport} view @returns {Promise<import("../worker.js").DecodedView>} */
  async decode(segment, frame, view) {
    await this.container.fetch(segment, chunksOfFrame(segment, frame));
    for (let tries = 0; tries < 2; tries++) {
      const context = this.#context;
      const decoded = await this.#draw(context, segment, frame, view);
      if (decoded) return decoded;
      this.#context = createContext(this.source); // which a browser allows, but not again and again
    }
    throw new Unsupported("This browser has taken WebGL away.");
  }

  /** @param {Context} context @param {NetworkSegment} segment @param {number} frame @param {Viewport} view */
  async #draw(context, segment, frame, view) {
    const { passes, tables } = await this.#load(context, segment);
    const began = performance.now();
    const index = frame - segment.firstFrame;
    const keys = segment.latents.map((_, latent) => this.reader.keysAround(segment, latent, index).map(({ key, weight, distance }) => (
      { texture: this.#texture(context, segment, latent, key, tables), weight, distance })));
    const camera = cameraOf(tables, index);
    const picture = context.shader.draw(passes, keys, view, camera ? multiply(camera, rotation(view)) : rotation(view));
    return picture && { picture, milliseconds: performance.now() - began, rough: false, preview: false, facts: {} };
  }

  /** There is nothing more to wait for. */
  async ready() {}

  /** Fetch what playing on needs: the next key groups. @param {NetworkSegment} present @param {number} frame */
  async readAhead(present, frame) {
    const ahead = frame + present.groupSize;
    if (ahead >= this.container.frames) return;
    const segment = await this.container.segmentOf(ahead);
    if (segment.kind !== "network") return;
    const frames = [segment.firstFrame, ahead].filter((next) => next > frame);
    await this.container.fetch(segment, [...new Set(frames.flatMap((next) => chunksOfFrame(segment, next)))]);
    await this.#load(this.#context, segment);
  }

  /** @param {Context} context @param {NetworkSegment} segment @returns {Promise<LoadedSegment>} */
  #load({ shader, segments, textures }, segment) {
    return segments.get(segment.index, () => {
      const loading = this.reader.read(segment).then(async ({ weights, tables }) => {
        textures.maxEntries = Math.max(textures.maxEntries, 2 * segment.latents.length);
        const passes = passesOf(segment, weights);
        await shader.compile(passes);
        return { passes, tables };
      });
      loading.catch(() => segments.delete(segment.index)); // it may be had the next time
      return loading;
    });
  }

  /** @param {Context} context @param {NetworkSegment} segment @param {number} latent @param {number} key @param {import("../network/chunks.js").LatentTables} tables */
  #texture({ shader, textures }, segment, latent, key, tables) {
    return textures.get(`${segment.index} ${latent} ${key}`, () => {
      const values = this.reader.key(segment, latent, key, tables);
      return { texture: shader.upload(values, segment.latents[latent]), bytes: BYTES_PER_VALUE * values.length };
    }).texture;
  }
}

/** @param {string} source of the shaders @returns {Context} */
function createContext(source) {
  const shader = new GridShader(source);
  const forget = (/** @type {Promise<LoadedSegment>} */ loading) => loading.then(({ passes }) => shader.release(passes), () => {});
  return {
    shader,
    segments: new LRUCache(CACHED_SEGMENTS, 0, undefined, forget),
    textures: new LRUCache(0, CACHED_BYTES, ({ bytes }) => bytes, ({ texture }) => shader.free(texture)),
  };
}
