/** Coded integers of a .nerv360 file (docs/bitstream.md, "Coded integers"). Tested against nerv360.bitstream.entropy. */

import { BrokenFile } from "./errors.js";
import { FRACTIONS, REACH, SCALES, counts } from "./laplace.js";

/** @typedef {{starts: Int32Array, index: Uint16Array}} Table of a class: where symbols start; the one at every 2^14th slot */

const CLASSES = SCALES * FRACTIONS;
const INDEX_SHIFT = 14;
const MOST_BEYOND = 2 ** 20;

/** A reader of bytes with a position. */
export class Bytes {
  /** @param {Uint8Array} data */
  constructor(data, at = 0) {
    this.data = data;
    this.at = at;
  }

  /** @returns {number} */
  byte() {
    if (this.at >= this.data.length) throw new BrokenFile("The file is damaged: it ends too early.");
    return this.data[this.at++];
  }

  /** @param {number} length */
  take(length) {
    if (this.at + length > this.data.length) throw new BrokenFile("The file is damaged: it ends too early.");
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }

  rest() {
    return this.take(this.data.length - this.at);
  }

  view(/** @type {number} */ length) {
    const part = this.take(length);
    return new DataView(part.buffer, part.byteOffset, length);
  }

  varint() {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 28; factor *= 128) {
      const byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new BrokenFile("The file is damaged: an impossible integer.");
  }
}

/** Integers, asked for in the pieces in which they were written. */
export class Reader {
  /** @type {number[]} */ #beyond = []; // how far integers lie beyond the outermost symbols
  #taken = 0; // of these
  #coder;

  /** @param {Uint8Array} data */
  constructor(data) {
    const bytes = new Bytes(data);
    for (let left = bytes.varint(); left > 0; left--) this.#beyond.push(bytes.varint());
    this.#coder = new Coder(bytes.rest());
  }

  /** The next integers, of these classes. @param {Uint16Array} classes */
  read(classes) {
    const integers = new Int32Array(classes.length);
    let start = 0;
    const { order, ends } = byClass(classes);
    ends.forEach((end, number) => {
      if (end > start) this.#coder.read(tableOf(number), order.subarray(start, end), integers);
      start = end;
    });
    for (let i = 0; i < integers.length; i++)
      if (integers[i] === REACH) integers[i] += this.#excess();
      else if (integers[i] === -REACH) integers[i] -= this.#excess();
    return integers;
  }

  /** Make sure that nothing is left. */
  finish() {
    if (this.#taken < this.#beyond.length || !this.#coder.empty)
      throw new BrokenFile("The file is damaged: coded integers go on behind the last one.");
  }

  #excess() {
    const excess = this.#beyond[this.#taken++];
    if (!(excess <= MOST_BEYOND)) throw new BrokenFile("The file is damaged: impossible coded integers.");
    return excess;
  }
}

/** Asymmetric numeral systems: a stack of words and a state of 64 bits, high * 2^32 + low. */
class Coder {
  #high = 0;
  #low = 0;

  /** @param {Uint8Array} data */
  constructor(data) {
    this.stack = new DataView(data.buffer, data.byteOffset, data.length);
    this.words = data.length / 4;
    if (this.words % 1 || (this.words > 0 && this.stack.getUint32(data.length - 4, true) === 0))
      throw new BrokenFile("The file is damaged: impossible coded integers.");
    if (this.words > 1) this.#high = this.#pop();
    if (this.words > 0) this.#low = this.#pop();
  }

  get empty() {
    return !this.words && !this.#high && !this.#low;
  }

  #pop() {
    return this.stack.getUint32(4 * --this.words, true);
  }

  /** Integers of one class, to these positions. @param {Table} table @param {Uint32Array} positions @param {Int32Array} integers */
  read({ starts, index }, positions, integers) {
    let high = this.#high;
    let low = this.#low;
    for (let i = 0; i < positions.length; i++) {
      const slot = low & 0xffffff;
      let symbol = index[slot >>> INDEX_SHIFT];
      while (slot >= starts[symbol + 1]) symbol++;
      integers[positions[i]] = symbol - REACH;
      // width * floor(state / 2^24) + slot - start, in two halves of the quotient: no product passes 2^53
      const width = starts[symbol + 1] - starts[symbol];
      const upper = (high >>> 12) * width;
      const carried = Math.floor(upper / 4096);
      const sum = (upper - 4096 * carried) * 1048576 + ((high & 0xfff) * 256 + (low >>> 24)) * width + slot - starts[symbol];
      low = sum >>> 0;
      high = carried + Math.floor(sum / 4294967296);
      if (high === 0 && this.words > 0) {
        high = low;
        low = this.#pop();
      }
    }
    this.#high = high;
    this.#low = low;
  }
}

/** Positions, the least class first and those of a class as they lie, and where each class ends. @param {Uint16Array} classes */
function byClass(classes) {
  const ends = new Uint32Array(CLASSES);
  for (let i = 0; i < classes.length; i++) ends[classes[i]]++;
  for (let number = 1; number < CLASSES; number++) ends[number] += ends[number - 1];
  const order = new Uint32Array(classes.length);
  const next = ends.slice();
  for (let i = classes.length - 1; i >= 0; i--) order[--next[classes[i]]] = i;
  return { order, ends };
}

/** @type {Table[]} */
const tables = []; // by class, as far as any was needed

/** @param {number} number @returns {Table} */
function tableOf(number) {
  return (tables[number] ??= makeTable(counts(number)));
}

/** @param {Int32Array} widths @returns {Table} */
function makeTable(widths) {
  const starts = new Int32Array(widths.length + 1);
  widths.forEach((width, symbol) => (starts[symbol + 1] = starts[symbol] + width));
  const index = new Uint16Array(starts[widths.length] >>> INDEX_SHIFT);
  let symbol = 0;
  for (let i = 0; i < index.length; i++) {
    while (i * 2 ** INDEX_SHIFT >= starts[symbol + 1]) symbol++;
    index[i] = symbol;
  }
  return { starts, index };
}
