/**
 * Decodes views of frames of nerv360-motion: bytes of keys -> keys in the core's slots -> the window that the view touches.
 *
 * What predicts a frame is decoded before it. Keys stay in slots while there is room: those of next frames are read ahead.
 */

import { ancestry } from "../key-order.js";
import { MotionCore, bytesOfKey, loadCore } from "./motion-core.js";
import { windowOf } from "./panorama-window.js";

/**
 * @typedef {import("../container.js").Container} Container
 * @typedef {import("../segments.js").MotionSegment} MotionSegment
 * @typedef {import("../worker.js").DecodedView} DecodedView
 */

const CACHED_BYTES = 400 << 20; // of keys in slots; more where one frame needs more
const MAX_SLOTS = 256; // of the core
const FRAMES_AHEAD = 8;
const MAX_STRIDE = 8; // frames from picture to picture, where a slow machine skips some
const KINDS = ["root", "P", "B"]; // by the number of references

export class MotionDecoder {
  received = 0; // bytes of the core
  /** @type {Map<number, number>} */ #slots = new Map(); // of pictures, the least recently used first
  /** @type {Promise<MotionCore>} */ #core;
  #capacity; // slots
  #turns = 0; // views asked for: reading ahead ends with the next
  #frame = 0; // last asked for
  #eyes = 1; // then
  #stride = 1; // from picture to picture, on average

  /** Load the core while the file is opened. @param {Promise<Container>} opening @param {() => void} lost another worker is needed */
  static async open(opening, lost) {
    const files = loadCore();
    files.catch(lost); // whoever needs it is told why
    return new MotionDecoder(await opening, files);
  }

  /** @param {Container} container @param {Promise<import("./motion-core.js").CoreFiles>} files of the core @param {number} cachedBytes */
  constructor(container, files, cachedBytes = CACHED_BYTES) {
    const { width, height } = container;
    this.container = container;
    this.#capacity = Math.min(MAX_SLOTS, Math.floor(cachedBytes / bytesOfKey(width, height)));
    this.#core = files.then(({ code, priors, received }) => {
      this.received = received;
      return new MotionCore(code, priors, width, height);
    });
    this.#core.catch(() => {});
  }

  /**
   * Decode a view. Where a slow machine skips frames while it plays, one nearby that takes fewer keys stands for the frame.
   * @param {MotionSegment} segment @param {number} wished frame @param {import("../geometry.js").Viewport} view
   * @param {boolean} moving @param {number} eyes whose pictures of the frame are wanted, as far as there are two
   * @returns {Promise<DecodedView>}
   */
  async decode(segment, wished, view, moving, eyes = 1) {
    this.#turns++;
    this.#eyes = Math.min(eyes, segment.eyes);
    const plays = moving && wished > this.#frame;
    const stride = Math.min(MAX_STRIDE, Math.max(1, wished - this.#frame));
    this.#stride = (this.#stride + stride) / 2;
    this.#frame = wished;
    const frame = plays ? this.#cheapest(segment, wished) : wished;
    const path = this.#path(segment, frame);
    await this.container.fetch(segment, this.#missing(segment, path));
    const core = await this.#core;
    const began = performance.now();
    const missing = this.#missing(segment, path);
    const { width, height } = this.container;
    const window = windowOf(view, width, height);
    const [picture, right = null] = this.#pictures(segment, frame).map((number) => ({
      pixels: core.pixels(this.#slotOf(core, segment, number), window), window, panorama: { width, height },
    }));
    return {
      picture,
      right,
      milliseconds: performance.now() - began,
      rough: frame !== wished,
      preview: false,
      facts: factsOf(segment, /** @type {number} */ (segment.chunkOfPicture.get(segment.eyes * frame)), missing.length, window),
    };
  }

  /** There is nothing more to wait for. */
  async ready() {}

  /** Fetch the frame's group of keys and the next one, and decode the keys of next frames until another view is asked for. */
  async readAhead(/** @type {MotionSegment} */ segment, /** @type {number} */ frame) {
    const turn = this.#turns;
    await this.container.fetch(segment, this.#missing(segment, chunksOfGroups(segment, frame, this.#eyes)));
    const core = await this.#core;
    const path = this.#path(segment, frame);
    const stride = Math.round(this.#stride);
    for (let next = frame + stride; next < segment.firstFrame + segment.frames && next <= frame + FRAMES_AHEAD; next += stride) {
      const wanted = this.#path(segment, this.#cheapest(segment, next));
      const pinned = [...new Set([...path, ...wanted])];
      if (pinned.length > this.#capacity) return;
      for (const chunk of this.#missing(segment, wanted)) {
        await new Promise((resolve) => setTimeout(resolve)); // a view may be asked for
        if (turn !== this.#turns) return;
        this.#hold(core, segment, chunk, pinned);
      }
    }
  }

  /** Frames by which one may stand for another while it plays: none on a machine that shows all. */
  get #reach() {
    return Math.floor(this.#stride / 2);
  }

  /** The frame within reach that takes the fewest keys, the nearest of them. @param {MotionSegment} segment @param {number} frame */
  #cheapest(segment, frame) {
    const near = [frame];
    for (let offset = 1; offset <= this.#reach; offset++) near.push(frame + offset, frame - offset);
    const held = (/** @type {number} */ each) => segment.chunkOfPicture.has(segment.eyes * each);
    const costs = near.map((each) => (held(each) ? this.#missing(segment, this.#path(segment, each)).length : Infinity));
    return near[costs.indexOf(Math.min(...costs))];
  }

  /** The pictures of a frame that are asked for: the left one, or both. @param {MotionSegment} segment @param {number} frame */
  #pictures(segment, frame) {
    return Array.from({ length: this.#eyes }, (_, eye) => segment.eyes * frame + eye);
  }

  /** The chunks that they take, in the order of coding. @param {MotionSegment} segment @param {number} frame */
  #path(segment, frame) {
    const chunks = this.#pictures(segment, frame).flatMap((picture) => ancestry(segment, picture));
    return [...new Set(chunks)].sort((a, b) => a - b);
  }

  /** The slot of a picture, with all that predicts it. @param {MotionCore} core @param {MotionSegment} segment @param {number} picture */
  #slotOf(core, segment, picture) {
    const path = ancestry(segment, picture);
    for (const chunk of path) this.#hold(core, segment, chunk, path);
    return /** @type {number} */ (this.#slots.get(picture));
  }

  /** The chunks whose keys are in no slot. @param {MotionSegment} segment @param {number[]} chunks */
  #missing(segment, chunks) {
    return chunks.filter((chunk) => !this.#slots.has(segment.keys[chunk].frame));
  }

  /**
   * Have a key in a slot, whose references are in slots.
   * @param {MotionCore} core @param {MotionSegment} segment @param {number} chunk
   * @param {number[]} pinned chunks whose keys stay in their slots
   */
  #hold(core, segment, chunk, pinned) {
    const key = segment.keys[chunk];
    let slot = this.#slots.get(key.frame);
    if (slot === undefined) {
      const data = this.container.chunk(segment, chunk);
      slot = this.#freeSlot(new Set(pinned.map((each) => segment.keys[each].frame)));
      core.decode(slot, key, segment.steps[key.level], data);
    }
    this.#slots.delete(key.frame);
    this.#slots.set(key.frame, slot); // as the most recently used
  }

  /** A new slot, or that of the least recently used key. @param {Set<number>} pinned pictures */
  #freeSlot(pinned) {
    const oldest = [...this.#slots.keys()].find((picture) => !pinned.has(picture));
    if (this.#slots.size < this.#capacity || oldest === undefined) return this.#slots.size;
    const slot = /** @type {number} */ (this.#slots.get(oldest));
    this.#slots.delete(oldest);
    return slot;
  }
}

/**
 * The chunks of the group of a frame and of the next group, of the left eye or of both.
 * @param {MotionSegment} segment @param {number} frame @param {number} wanted eyes
 */
function chunksOfGroups({ groups, firstFrame, eyes }, frame, wanted) {
  let [group, first] = [0, 0];
  while (first + groups[group] <= frame - firstFrame) first += groups[group++];
  return groups.slice(group, group + 2).flatMap((count) => {
    const start = eyes * first;
    first += count;
    return Array.from({ length: wanted * count }, (_, i) => start + i);
  });
}

/**
 * What is worth knowing of a decoded key, for people.
 * @param {MotionSegment} segment @param {number} chunk @param {number} decoded keys for this view
 * @param {import("./panorama-window.js").PanoramaWindow} window
 */
function factsOf(segment, chunk, decoded, window) {
  const { references, level } = segment.keys[chunk];
  return {
    Key: `${KINDS[references.length]}, level ${level}, ${segment.chunks[chunk].length} bytes`,
    Keys: `${decoded} decoded for this view`,
    Window: `${window.width} × ${window.height} pixels`,
  };
}
