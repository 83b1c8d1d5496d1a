/** Sectors of keys in a file (motion/sectors.py): squares of the panorama that are fetched when a view needs them. */

import { BrokenFile } from "../errors.js";
import { LRUCache } from "../lru-cache.js";

/**
 * @typedef {import("../segments.js").MotionSegment} MotionSegment
 * @typedef {{start: number, length: number}} Stretch bytes of the file
 * @typedef {{starts: number[], lengths: Uint32Array}} Table where each sector of a span begins, and the last one ends, in the
 *   chunk of sectors; bytes of each sector of each key
 */

const TABLES = 64; // that are kept

export class Sectors {
  /** @type {LRUCache<Table>} */ #tables = new LRUCache(TABLES);

  /** @param {import("../container.js").Container} container @param {import("./motion-core.js").MotionCore} core */
  constructor(container, core) {
    this.container = container;
    this.core = core;
  }

  /** Where a sector lies, of all keys of the span of one. @param {MotionSegment} segment @param {number} key @param {number} sector */
  stretch(segment, key, sector) {
    const { starts } = this.#tableOf(segment, segment.spanOfKey[key]);
    return { start: segment.spans[segment.spanOfKey[key]].sectors.start + starts[sector], length: starts[sector + 1] - starts[sector] };
  }

  /** Row and column of the middle of a sector. @param {number} sector */
  middle(sector) {
    const across = Math.ceil((16 * Math.ceil(this.container.width / 16)) / this.core.sector);
    return [Math.floor(sector / across), sector % across].map((each) => (each + 0.5) * this.core.sector);
  }

  /** The bytes of a sector of a key; null where they are not fetched. @param {MotionSegment} segment @param {number} key @param {number} sector */
  bytes(segment, key, sector) {
    const stretch = this.stretch(segment, key, sector);
    if (!stretch.length) return new Uint8Array(0);
    const { reader } = this.container;
    if (!reader.has(stretch)) return null;
    const data = reader.bytes(stretch.start, stretch.length);
    const span = segment.spanOfKey[key];
    const { lengths } = this.#tableOf(segment, span);
    const count = this.core.sectors;
    let start = 0;
    for (let each = segment.spans[span].first, at = sector; each < key; each++, at += count) start += lengths[at];
    return data.subarray(start, start + lengths[(key - segment.spans[span].first) * count + sector]);
  }

  /** @param {MotionSegment} segment @param {number} number @returns {Table} */
  #tableOf(segment, number) {
    return this.#tables.get(`${segment.index} ${number}`, () => {
      const span = segment.spans[number];
      const keys = segment.keys.slice(span.first, span.first + span.count);
      const lengths = this.core.lengths(keys, this.container.bytes(span.lengths));
      const starts = [0];
      for (let sector = 0; sector < this.core.sectors; sector++) {
        let length = 0;
        for (let at = sector; at < lengths.length; at += this.core.sectors) length += lengths[at];
        starts.push(starts[sector] + length);
      }
      if (starts[this.core.sectors] !== span.sectors.length) throw new BrokenFile("The file is damaged: sectors have impossible lengths.");
      return { starts, lengths };
    });
  }
}
