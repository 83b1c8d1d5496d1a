/** Coded integers of a .nerv360 file (docs/bitstream.md, "Coded integers"). Tested against nerv360.bitstream.entropy. */

import { BrokenFile } from "./errors.js";

/** @typedef {{lowest: number, counts: Uint32Array, starts?: Uint32Array, index?: Uint16Array}} Table */

const TOTAL = 65536;

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

/** @param {Bytes} bytes @returns {Table} */
export function readTable(bytes) {
  const mapped = bytes.varint();
  const length = bytes.varint();
  const lowest = mapped % 2 ? -(mapped + 1) / 2 : mapped / 2;
  let total = 0;
  const counts = new Uint32Array(length <= TOTAL ? length : 0);
  for (let i = 0; i < counts.length; i++) {
    counts[i] = bytes.varint();
    total += counts[i] || Infinity;
  }
  if (total !== TOTAL) throw new BrokenFile("The file is damaged: an impossible frequency table.");
  return { lowest, counts };
}

/**
 * Symbols of every part, one behind the other.
 * @param {Uint8Array} data @param {[number, Table][]} parts how many symbols, and their table
 * @returns {Int32Array[]}
 */
export function decode(data, parts) {
  let words = data.length / 4;
  const stack = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const pop = () => stack.getUint32(4 * --words, true);
  if (words % 1 || (words > 0 && stack.getUint32(4 * (words - 1), true) === 0))
    throw new BrokenFile("The file is damaged: impossible coded integers.");
  // The state has 64 bits: high * 2^32 + low.
  let high = words > 1 ? pop() : 0;
  let low = words > 0 ? pop() : 0;
  const decoded = parts.map(([count, table]) => {
    const symbols = new Int32Array(count).fill(table.lowest);
    if (table.counts.length === 1) return symbols;
    const { index, starts } = lookup(table);
    for (let i = 0; i < count; i++) {
      const slot = low & 0xffffff;
      const symbol = index[slot >>> 8];
      symbols[i] += symbol;
      // width * floor(state / 2^24) + slot - start, in two halves of the quotient: no product passes 2^53
      const width = 256 * table.counts[symbol];
      const upper = high >>> 12;
      const lower = ((high & 0xfff) * 256 + (low >>> 24)) * width + slot - 256 * starts[symbol];
      const product = upper * width;
      const sum = (product % 4096) * 1048576 + lower;
      low = sum >>> 0;
      high = Math.floor(product / 4096) + Math.floor(sum / 4294967296);
      if (high === 0 && words > 0) {
        high = low;
        low = pop();
      }
    }
    return symbols;
  });
  if (words || high || low) throw new BrokenFile("The file is damaged: coded integers do not end where they should.");
  return decoded;
}

/** @param {Table} table */
function lookup(table) {
  if (!table.index || !table.starts) {
    table.index = new Uint16Array(TOTAL);
    table.starts = new Uint32Array(table.counts.length);
    let start = 0;
    for (let i = 0; i < table.counts.length; i++) {
      table.starts[i] = start;
      table.index.fill(i, start, start + table.counts[i]);
      start += table.counts[i];
    }
  }
  return { index: table.index, starts: table.starts };
}
