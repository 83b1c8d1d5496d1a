/** Entropy decoding of integers by range ANS (docs/bitstream.md). Tested against the Python package. */

import { ByteReader } from "../byte-reader.js";
import { BrokenFile } from "../errors.js";
import { FRACTIONS, MAX_SYMBOL, SCALES, frequencies } from "./laplace.js";

/** @typedef {{starts: Int32Array, lookup: Uint16Array}} Table of a model: cumulative frequencies; the symbol at every 2^14th slot */

const MODELS = SCALES * FRACTIONS;
const LOOKUP_SHIFT = 14;
const MAX_ESCAPE = 2 ** 20;

/** Integers, decoded in the batches in which they were encoded. */
export class SymbolDecoder {
  /** @type {number[]} */ #escapes = []; // how far integers lie beyond the outermost symbols
  #escapesRead = 0;
  #rans;

  /** @param {Uint8Array} data */
  constructor(data) {
    const bytes = new ByteReader(data);
    for (let left = bytes.varint(); left > 0; left--) this.#escapes.push(bytes.varint());
    this.#rans = new RansDecoder(bytes.rest());
  }

  /** Decode the next batch. @param {Uint16Array} models of each integer, by index @returns {Int32Array} */
  decode(models) {
    const integers = new Int32Array(models.length);
    let start = 0;
    const { order, ends } = sortByModel(models);
    ends.forEach((end, model) => {
      if (end > start) this.#rans.decode(tableOf(model), order.subarray(start, end), integers);
      start = end;
    });
    for (let i = 0; i < integers.length; i++)
      if (integers[i] === MAX_SYMBOL) integers[i] += this.#escape();
      else if (integers[i] === -MAX_SYMBOL) integers[i] -= this.#escape();
    return integers;
  }

  /** Check that nothing is left. */
  finish() {
    if (this.#escapesRead < this.#escapes.length || !this.#rans.empty)
      throw new BrokenFile("The file is damaged: coded integers go on behind the last one.");
  }

  #escape() {
    const escape = this.#escapes[this.#escapesRead++];
    if (!(escape <= MAX_ESCAPE)) throw new BrokenFile("The file is damaged: impossible coded integers.");
    return escape;
  }
}

/** Range asymmetric numeral systems: a stack of 32-bit words and a state of 64 bits, high * 2^32 + low. */
class RansDecoder {
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

  /** Decode integers of one model to these positions. @param {Table} table @param {Uint32Array} positions @param {Int32Array} integers */
  decode({ starts, lookup }, positions, integers) {
    let high = this.#high;
    let low = this.#low;
    for (let i = 0; i < positions.length; i++) {
      const slot = low & 0xffffff;
      let symbol = lookup[slot >>> LOOKUP_SHIFT];
      while (slot >= starts[symbol + 1]) symbol++;
      integers[positions[i]] = symbol - MAX_SYMBOL;
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

/** Positions sorted by model, stably, and where each model ends: a counting sort. @param {Uint16Array} models */
function sortByModel(models) {
  const ends = new Uint32Array(MODELS);
  for (let i = 0; i < models.length; i++) ends[models[i]]++;
  for (let model = 1; model < MODELS; model++) ends[model] += ends[model - 1];
  const order = new Uint32Array(models.length);
  const next = ends.slice();
  for (let i = models.length - 1; i >= 0; i--) order[--next[models[i]]] = i;
  return { order, ends };
}

/** @type {Table[]} */
const tables = []; // by model, once it was needed

/** @param {number} model its index @returns {Table} */
function tableOf(model) {
  return (tables[model] ??= makeTable(frequencies(model)));
}

/** @param {Int32Array} widths @returns {Table} */
function makeTable(widths) {
  const starts = new Int32Array(widths.length + 1);
  widths.forEach((width, symbol) => (starts[symbol + 1] = starts[symbol] + width));
  const lookup = new Uint16Array(starts[widths.length] >>> LOOKUP_SHIFT);
  let symbol = 0;
  for (let i = 0; i < lookup.length; i++) {
    while (i * 2 ** LOOKUP_SHIFT >= starts[symbol + 1]) symbol++;
    lookup[i] = symbol;
  }
  return { starts, lookup };
}
