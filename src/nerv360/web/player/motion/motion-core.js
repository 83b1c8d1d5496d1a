/** The compiled core of nerv360-motion, which Python runs too (motion/core.py): keys of one file, decoded and painted. */

import { download } from "../download.js";
import { BrokenFile, Unsupported } from "../errors.js";

/** @typedef {import("../key-order.js").Key} Key */
/** @typedef {{code: WebAssembly.Module, priors: Uint8Array, received: number}} CoreFiles received: bytes */

const NO_FRAME = -1;
const DAMAGED = -1; // of bytes
const BYTES_PER_PIXEL = 6.2; // of a key in a slot: coefficients and picture, with half of the colours' rows and columns; motion

/** Bytes that a key takes in a slot, with its contexts. @param {number} width @param {number} height */
export const bytesOfKey = (width, height) => BYTES_PER_PIXEL * width * height + (3 << 16);

/** Load the core, and what was learned on other clips. Throws ServerGone, or BrokenFile for a damaged site. @returns {Promise<CoreFiles>} */
export async function loadCore() {
  const addresses = [new URL("./core.wasm", import.meta.url), new URL("./priors.bin", import.meta.url)];
  const [code, packed] = await Promise.all(addresses.map((address) => download(address, "The decoder").then(({ data }) => data)));
  try {
    const priors = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
    return {
      code: await WebAssembly.compile(code), // not while it comes: for that, servers must give it its type
      priors: new Uint8Array(await priors),
      received: code.length + packed.length,
    };
  } catch (error) {
    throw new BrokenFile(`The decoder cannot be started: ${error instanceof Error ? error.message : error}`);
  }
}

export class MotionCore {
  /** @type {any} */ #exports;
  #failed = false;
  /** @type {Map<string, {address: number, room: number}>} */ #buffers = new Map();

  /**
   * @param {WebAssembly.Module} code @param {Uint8Array} priors @param {number} width @param {number} height of the panorama
   * @param {number} sector pixels each way of the sectors of keys, or 0
   */
  constructor(code, priors, width, height, sector) {
    this.#exports = new WebAssembly.Instance(code).exports;
    this.#call("begin", width, height, sector, 0, this.#put("priors", priors));
    this.sector = sector;
    this.sectors = this.#call("sector_count");
  }

  /**
   * Read a key into a slot. Its references must be in slots.
   * @param {number} slot @param {Key} key @param {number} step of the quantiser, in 1/16 of a level @param {Uint8Array} data
   */
  decode(slot, { frame, level, references }, step, data) {
    const [first, second] = [...references, NO_FRAME, NO_FRAME];
    this.#call("decode_key", slot, frame, level, first, second, step, this.#put("input", data), data.length);
  }

  /**
   * Read a sector of a key; says whether it was: not where that of a reference is not known. Throws BrokenFile.
   * @param {number} slot @param {number} sector @param {Uint8Array} data
   */
  decodeSector(slot, sector, data) {
    const status = this.#call("decode_sector", slot, sector, this.#put("input", data), data.length);
    if (status === DAMAGED) throw new BrokenFile("The file is damaged: a sector ends as none does.");
    return status !== 0;
  }

  /**
   * Find out which sectors a region of a key's picture lacks, as far as motion tells by now; says whether any.
   * @param {number} slot @param {import("./panorama-window.js").PanoramaWindow} region
   */
  ask(slot, { top, left, height, width }) {
    return this.#call("ask_sectors", slot, top, left, height, width) !== 0;
  }

  /** The sectors of a key that were found by `ask`. @param {number} slot */
  asked(slot) {
    const flags = this.#view(this.#call("asked", slot) >>> 0, this.sectors);
    return Array.from(flags.keys()).filter((sector) => flags[sector]);
  }

  /** The bytes of sectors, key by key. @param {Key[]} keys @param {Uint8Array} data */
  lengths(keys, data) {
    const size = 4 * keys.length * this.sectors;
    const address = this.#reserve("lengths", size);
    const references = this.#put("references", Uint8Array.from(keys, (key) => key.references.length));
    this.#call("read_lengths", references, keys.length, this.#put("input", data), data.length, address);
    return new Uint32Array(this.#view(address, size).slice().buffer);
  }

  /**
   * Red, green and blue of a region of a key's picture. What it is predicted from must be in slots, or painted.
   * @param {number} slot @param {import("./panorama-window.js").PanoramaWindow} window @returns {Uint8Array<ArrayBuffer>}
   */
  pixels(slot, { top, left, height, width }) {
    const size = 3 * height * width;
    const address = this.#reserve("pixels", size);
    this.#call("read_pixels", slot, top, left, height, width, address);
    return this.#view(address, size).slice();
  }

  /** @param {string} name @param {number[]} values @returns {number} */
  #call(name, ...values) {
    try {
      if (!this.#failed) return this.#exports[name](...values);
    } catch {
      this.#failed = true; // what slots hold is not known any more
    }
    throw new Unsupported("The panorama takes more memory than this browser gives.");
  }

  /** Where a buffer of at least so many bytes lies. @param {string} name @param {number} size */
  #reserve(name, size) {
    const { address, room } = this.#buffers.get(name) ?? { address: 0, room: 0 };
    if (size <= room) return address;
    const more = Math.max(size, 2 * room); // what was reserved is not given back
    const buffer = { address: this.#call("reserve", more) >>> 0, room: more };
    this.#buffers.set(name, buffer);
    return buffer.address;
  }

  /** @param {string} name @param {Uint8Array} data */
  #put(name, data) {
    const address = this.#reserve(name, data.length);
    this.#view(address, data.length).set(data);
    return address;
  }

  /** Memory as it is now: a call may have let it grow. @param {number} address @param {number} size */
  #view(address, size) {
    return new Uint8Array(this.#exports.memory.buffer, address, size);
  }
}
