/** Bytes of a .nerv360 file, which may end too early. */

import { BrokenFile } from "./errors.js";

/** Reads bytes from the front. */
export class ByteReader {
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

  /** All bytes that are left. */
  rest() {
    return this.take(this.data.length - this.at);
  }

  view(/** @type {number} */ length) {
    const bytes = this.take(length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  /** An unsigned integer of 7 bits a byte, the lowest first (LEB128). */
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
