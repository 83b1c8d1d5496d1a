/** Reads what networks decode from: chunks of a file -> weights, tables, and the keys around a frame. */

import { readKeyGroup, readTables, readWeights } from "./chunks.js";
import { rotation } from "../geometry.js";
import { chunkOfKey, interpolationWeights, keyFrameIndex } from "../layout.js";
import { LRUCache } from "../lru-cache.js";
import { tensorShapes } from "./tensor-shapes.js";

/**
 * @typedef {import("./chunks.js").LatentTables} LatentTables
 * @typedef {import("../layout.js").Latent} Latent
 * @typedef {import("../segments.js").NetworkSegment} NetworkSegment
 * @typedef {import("./tensors.js").FrameLatent} FrameLatent
 */

const CACHED_KEY_GROUPS = 2; // of each latent
const CACHED_KEY_BYTES = 1 << 26; // more key groups are cached while all take no more

export class LatentReader {
  /** @type {LRUCache<Float32Array>} */ #keyGroups = new LRUCache(0, CACHED_KEY_BYTES, (values) => values.byteLength);

  /** @param {import("../container.js").Container} container */
  constructor(container) {
    this.container = container;
  }

  /** Weights by name, and all in one array; tables of the latents. Chunks 0 and 1 must be there. @param {NetworkSegment} segment */
  async read(segment) {
    const { network, latents } = segment;
    this.#keyGroups.maxEntries = Math.max(this.#keyGroups.maxEntries, CACHED_KEY_GROUPS * latents.length);
    const { weights, all } = readWeights(this.container.chunk(segment, 0), tensorShapes({ ...network, latents }));
    return { weights, all, tables: await readTables(this.container.chunk(segment, 1), segment) };
  }

  /**
   * Latents around a frame of the segment, whose chunks must be there.
   * @param {NetworkSegment} segment @param {Latent[]} latents of it @param {number} frame @param {LatentTables} tables
   * @returns {FrameLatent[]}
   */
  latents(segment, latents, frame, tables) {
    return latents.map((latent) => {
      const { stride, motion, channels, rows, columns } = latent;
      const index = segment.latents.indexOf(latent);
      const keys = this.keysAround(segment, index, frame).map(({ key, ...rest }) => ({ ...rest, data: this.key(segment, index, key, tables) }));
      return { stride, motion, channels, rows, columns, keys };
    });
  }

  /**
   * The keys of a latent that a frame of the segment is interpolated from. distance: frames since the key
   * @param {NetworkSegment} segment @param {number} latent @param {number} frame
   */
  keysAround({ latents, frames }, latent, frame) {
    const { keyInterval } = latents[latent];
    return interpolationWeights(keyInterval, frame, frames).map(([key, weight]) => (
      { key, weight, distance: keyInterval ? frame - keyFrameIndex(keyInterval, key, frames) : 0 }));
  }

  /** The values of a key. @param {NetworkSegment} segment @param {number} latent @param {number} key @param {LatentTables} tables */
  key(segment, latent, key, tables) {
    const { channels, rows, columns } = segment.latents[latent];
    const chunk = chunkOfKey(segment, latent, key);
    const group = segment.keyGroups[chunk - 2];
    const values = this.#keyGroups.get(`${segment.index} ${chunk}`, () =>
      readKeyGroup(this.container.chunk(segment, chunk), segment, group, tables),
    );
    const size = channels * rows * columns;
    const start = (key - group.firstKey) * size;
    return values.subarray(start, start + size);
  }
}

/** The rotation of the camera at a frame, where it turns. @param {LatentTables} tables @param {number} frame of the segment */
export const cameraOf = ({ angles }, frame) => angles && rotation(angles[frame]);
