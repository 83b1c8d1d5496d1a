/** Keys in the core's slots, while there is room: the least recently used gives way. */

import { ancestry } from "../key-order.js";
import { bytesOfKey } from "./motion-core.js";

/**
 * @typedef {import("../segments.js").MotionSegment} MotionSegment
 * @typedef {import("./motion-core.js").MotionCore} MotionCore
 */

const MAX_SLOTS = 256; // of the core

export class KeySlots {
  /** @type {Map<number, number>} */ #slots = new Map(); // of pictures, the least recently used first

  /** @param {import("../container.js").Container} container @param {number} bytes of keys that are held; more where one frame needs more */
  constructor(container, bytes) {
    this.container = container;
    this.capacity = Math.min(MAX_SLOTS, Math.floor(bytes / bytesOfKey(container.width, container.height)));
  }

  clear() {
    this.#slots.clear();
  }

  /** The slot of a picture that is held. @param {number} picture */
  get(picture) {
    return this.#slots.get(picture);
  }

  /** The slot of a picture, with all that predicts it. @param {MotionCore} core @param {MotionSegment} segment @param {number} picture */
  slotOf(core, segment, picture) {
    const path = ancestry(segment, picture);
    for (const chunk of path) this.hold(core, segment, chunk, path);
    return /** @type {number} */ (this.#slots.get(picture));
  }

  /** The chunks whose keys are in no slot. @param {MotionSegment} segment @param {number[]} chunks */
  missing(segment, chunks) {
    return chunks.filter((chunk) => !this.#slots.has(segment.keys[chunk].frame));
  }

  /**
   * Have a key in a slot, whose references are in slots.
   * @param {MotionCore} core @param {MotionSegment} segment @param {number} chunk
   * @param {number[]} pinned chunks whose keys stay in their slots
   */
  hold(core, segment, chunk, pinned) {
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
    if (this.#slots.size < this.capacity || oldest === undefined) return this.#slots.size;
    const slot = /** @type {number} */ (this.#slots.get(oldest));
    this.#slots.delete(oldest);
    return slot;
  }
}
