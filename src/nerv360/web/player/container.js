/** A .nerv360 file behind an address, read by byte ranges: headers and chunks when they are needed. */

import { download } from "./download.js";
import { Bytes } from "./entropy.js";
import { BrokenFile } from "./errors.js";

/**
 * @typedef {{stride: number, channels: number, period: number, motion: boolean, rows: number, columns: number}} Latent
 * @typedef {{latent: number, firstKey: number, keys: number}} Part
 * @typedef {{model: string, channels: number[], strides: number[], kernels: number[], embeddingChannels: number,
 *   expandFirst: boolean, conditions: string[], base: number, frequencies: number, oriented: boolean, lastBlock: string}} Network
 * @typedef {{index: number, firstFrame: number, frames: number, network: Network, groupSize: number, latents: Latent[],
 *   parts: Part[], chunks: {start: number, length: number, checksum: number}[]}} Segment
 */

const MAGIC = "\x89NERV360";
const VERSION = 5;
const FIRST_READ = 4096; // bytes: usually all headers
const MOST_KEPT = 1 << 27; // bytes
const GAP = 2048; // bytes that are rather read than asked around

const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);

export class Container {
  /** @type {Segment[]} */ segments = []; // those whose headers were read, by their index
  /** @type {{frames: number, firstFrame: number, start: number, headerLength: number, checksum: number}[]} */ #entries = [];
  #width = 0;
  #height = 0;
  frames = 0;

  /** @param {RangeReader} reader */
  constructor(reader) {
    this.reader = reader;
  }

  /** @param {string} address */
  static async open(address) {
    const container = new Container(new RangeReader(address));
    await container.#readHeaders();
    return container;
  }

  /** @param {number} frame @returns {Promise<Segment>} */
  async segmentOf(frame) {
    const index = this.#entries.findIndex(({ firstFrame, frames }) => firstFrame <= frame && frame < firstFrame + frames);
    if (index < 0) throw new RangeError(`frame ${frame} is not in the video`);
    if (!this.segments[index]) {
      const { start, headerLength, checksum, firstFrame, frames } = this.#entries[index];
      const fields = await this.#header(start, headerLength, checksum);
      this.segments[index] = readSegment(fields, start + headerLength, this.#width, this.#height, firstFrame, frames, index);
    }
    return this.segments[index];
  }

  /** The chunks that a frame needs: those that serve the segment, and the parts of the keys around it. */
  chunksFor(/** @type {Segment} */ segment, /** @type {number} */ frame) {
    const needed = [0, 1];
    segment.latents.forEach((latent, index) => {
      for (const [key] of keysAt(latent.period, frame - segment.firstFrame, segment.frames)) needed.push(chunkOf(segment, index, key));
    });
    return [...new Set(needed)];
  }

  /** Fetch chunks, neighbours together. @param {Segment} segment @param {number[]} chunks */
  async fetch(segment, chunks) {
    await this.reader.fetch(chunks.map((index) => segment.chunks[index]));
  }

  /** The bytes of a fetched chunk, checked. @param {Segment} segment @param {number} index */
  chunk(segment, index) {
    const { start, length, checksum } = segment.chunks[index];
    const data = this.reader.bytes(start, length);
    if (crc32(data) !== checksum) throw new BrokenFile("The file is damaged: a checksum is wrong.");
    return data;
  }

  async #readHeaders() {
    const reader = this.reader;
    await reader.fetch([{ start: 0, length: 18 }], FIRST_READ);
    const preamble = new Bytes(reader.bytes(0, 18)).view(18);
    const magic = String.fromCharCode(...reader.bytes(0, 8));
    if (magic !== MAGIC) throw new BrokenFile("This is not a .nerv360 file.");
    const version = preamble.getUint16(8, true);
    if (version > VERSION) throw new BrokenFile("The file was written by a newer nerv360: update the player.");
    if (version < VERSION) throw new BrokenFile("The file was written by an older nerv360: encode the video again.");
    const length = preamble.getUint32(10, true);
    const header = await this.#header(18, length, preamble.getUint32(14, true));
    const entries = header[6];
    [this.#width, this.#height, this.frames] = header;
    const end = 18 + length + sum(entries.map((/** @type {number[]} */ entry) => entry[1]));
    if (reader.size !== end) throw new BrokenFile(`The file is damaged: it has ${reader.size} bytes, and should have ${end}.`);
    let start = 18 + length;
    let firstFrame = 0;
    for (const [frames, size, headerLength, checksum] of entries) {
      this.#entries.push({ frames, firstFrame, start, headerLength, checksum });
      start += size;
      firstFrame += frames;
    }
    await this.segmentOf(0);
  }

  /** @returns {Promise<any[]>} */
  async #header(/** @type {number} */ start, /** @type {number} */ length, /** @type {number} */ checksum) {
    await this.reader.fetch([{ start, length }]);
    const data = this.reader.bytes(start, length);
    if (crc32(data) !== checksum) throw new BrokenFile("The file is damaged: the checksum of a header is wrong.");
    return readMessagePack(new Bytes(data));
  }
}

/** @param {any[]} fields @returns {Segment} */
function readSegment(
  fields, /** @type {number} */ offset, /** @type {number} */ width, /** @type {number} */ height,
  /** @type {number} */ firstFrame, /** @type {number} */ frames, /** @type {number} */ index,
) {
  const [model, channels, encoderStrides, strides, kernels, embeddingChannels, expandFirst, conditions, base, frequencies] = fields;
  const [groupSize, grids, oriented, table, lastBlock = "full"] = fields.slice(14);
  const shapes = grids.length ? grids : [[product(encoderStrides), embeddingChannels, 1, false]];
  const latents = shapes.map((/** @type {[number, number, number, boolean]} */ [stride, count, period, motion]) => ({
    stride, channels: count, period, motion, rows: Math.ceil(height / stride), columns: 2 * Math.ceil(width / (2 * stride)),
  }));
  let start = offset;
  const chunks = table.map((/** @type {number[]} */ [length, checksum]) => {
    start += length;
    return { start: start - length, length, checksum };
  });
  const network = { model, channels, strides, kernels, embeddingChannels, expandFirst, conditions, base, frequencies, oriented, lastBlock };
  const parts = partsOf(latents, frames, groupSize);
  if (chunks.length !== parts.length + 2) throw new BrokenFile("The file is damaged: it has a wrong number of chunks.");
  return { index, firstFrame, frames, network, groupSize, latents, parts, chunks };
}

const keyCount = (/** @type {number} */ period, /** @type {number} */ frames) => (period === 0 ? 1 : Math.ceil(frames / period));

/** The middle of a key's share of the frames: all have the same. */
export const frameOfKey = (/** @type {number} */ period, /** @type {number} */ key, /** @type {number} */ frames) =>
  Math.floor(((2 * key + 1) * frames) / (2 * keyCount(period, frames)));

/**
 * The keys that a frame is made of, with their weights: those around it; one before the first and behind the last.
 * @param {number} period @param {number} frame @param {number} frames of the segment @returns {[number, number][]}
 */
export function keysAt(period, frame, frames) {
  const count = keyCount(period, frames);
  const key = Math.floor((Math.floor((2 * count * (frame + 1) - 1) / frames) - 1) / 2); // the last not behind the frame
  if (key < 0 || key === count - 1) return [[Math.max(0, key), 1]];
  const before = frameOfKey(period, key, frames);
  const weight = (frame - before) / (frameOfKey(period, key + 1, frames) - before);
  return weight ? [[key, 1 - weight], [key + 1, weight]] : [[key, 1]];
}

const keysPerChunk = (/** @type {number} */ period, /** @type {number} */ groupSize) => Math.max(1, Math.floor(groupSize / Math.max(1, period)));

/** In the order of the file: by the first frame that needs a part, then by latent. @returns {Part[]} */
function partsOf(/** @type {Latent[]} */ latents, /** @type {number} */ frames, /** @type {number} */ groupSize) {
  /** @type {(Part & {needed: number})[]} */
  const found = [];
  latents.forEach(({ period }, latent) => {
    const count = keyCount(period, frames);
    const step = keysPerChunk(period, groupSize);
    for (let firstKey = 0; firstKey < count; firstKey += step)
      found.push({ needed: firstKey && frameOfKey(period, firstKey - 1, frames) + 1, latent, firstKey, keys: Math.min(step, count - firstKey) });
  });
  return found.sort((a, b) => a.needed - b.needed);
}

/** The chunk that holds a key of a latent. */
export function chunkOf(/** @type {Segment} */ segment, /** @type {number} */ latent, /** @type {number} */ key) {
  const step = keysPerChunk(segment.latents[latent].period, segment.groupSize);
  return 2 + segment.parts.findIndex((part) => part.latent === latent && part.firstKey === key - (key % step));
}

/** Bytes behind an address. What was fetched is kept as it came, until it is too much; the oldest goes first. */
export class RangeReader {
  /** @type {{start: number, data: Uint8Array}[]} */ #pieces = [];
  size = 0; // of the whole file, once something was fetched
  received = 0;

  /** @param {string} address */
  constructor(address) {
    this.address = address;
  }

  /** @param {number} start @param {number} length */
  bytes(start, length) {
    const piece = this.#piece(start, length);
    if (!piece) throw new BrokenFile("The file is damaged: it ends too early.");
    return piece.data.subarray(start - piece.start, start - piece.start + length);
  }

  /** Fetch ranges that are missing, near ones in one request. */
  async fetch(/** @type {{start: number, length: number}[]} */ ranges, atLeast = 0) {
    const missing = ranges
      .filter(({ start, length }) => length && !this.#piece(start, length))
      .map(({ start, length }) => ({ start, end: start + Math.max(length, atLeast) }))
      .sort((a, b) => a.start - b.start);
    /** @type {{start: number, end: number}[]} */
    const joined = [];
    for (const range of missing) {
      const last = joined[joined.length - 1];
      if (last && range.start <= last.end + GAP) last.end = Math.max(last.end, range.end);
      else joined.push(range);
    }
    await Promise.all(joined.map(({ start, end }) => this.#request(start, end)));
  }

  #piece(/** @type {number} */ start, /** @type {number} */ length) {
    return this.#pieces.find((piece) => piece.start <= start && start + length <= piece.start + piece.data.length);
  }

  async #request(/** @type {number} */ start, /** @type {number} */ end) {
    const known = this.#pieces.find((piece) => piece.start <= start && start < piece.start + piece.data.length);
    const head = known ? known.data.subarray(start - known.start) : new Uint8Array(0); // what is there already
    const wanted = { Range: `bytes=${start + head.length}-${end - 1}` };
    const { response, data } = await download(this.address, "The video", wanted);
    const whole = response.status === 200; // a server without ranges gives all of it
    this.size = whole ? data.length : Number(response.headers.get("Content-Range")?.split("/")[1]);
    this.received += data.length;
    this.#pieces.push(whole ? { start: 0, data } : { start, data: joined(head, data) });
    while (this.#pieces.length > 1 && sum(this.#pieces.map((piece) => piece.data.length)) > MOST_KEPT) this.#pieces.shift();
  }
}

/** @param {Uint8Array} head @param {Uint8Array} tail */
function joined(head, tail) {
  if (!head.length) return tail;
  const all = new Uint8Array(head.length + tail.length);
  all.set(head);
  all.set(tail, head.length);
  return all;
}

/** @param {Bytes} bytes @returns {any} */
export function readMessagePack(bytes) {
  const kind = bytes.byte();
  if (kind < 0x80) return kind;
  if (kind >= 0xe0) return kind - 256;
  if (kind >= 0xa0 && kind < 0xc0) return text(bytes.take(kind & 31));
  if (kind >= 0x90 && kind < 0xa0) return items(bytes, kind & 15);
  switch (kind) {
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xca: return bytes.view(4).getFloat32(0);
    case 0xcb: return bytes.view(8).getFloat64(0);
    case 0xcc: return bytes.byte();
    case 0xcd: return bytes.view(2).getUint16(0);
    case 0xce: return bytes.view(4).getUint32(0);
    case 0xcf: return Number(bytes.view(8).getBigUint64(0));
    case 0xd0: return bytes.view(1).getInt8(0);
    case 0xd1: return bytes.view(2).getInt16(0);
    case 0xd2: return bytes.view(4).getInt32(0);
    case 0xd3: return Number(bytes.view(8).getBigInt64(0));
    case 0xd9: return text(bytes.take(bytes.byte()));
    case 0xdc: return items(bytes, bytes.view(2).getUint16(0));
    case 0xdd: return items(bytes, bytes.view(4).getUint32(0));
    default: throw new BrokenFile("The file is damaged: an impossible header.");
  }
}

const text = (/** @type {Uint8Array} */ data) => new TextDecoder().decode(data);

function items(/** @type {Bytes} */ bytes, /** @type {number} */ count) {
  const found = [];
  for (let i = 0; i < count; i++) found.push(readMessagePack(bytes));
  return found;
}

const sum = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a + b, 0);

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** CRC-32 as in PNG. @param {Uint8Array} data */
export function crc32(data) {
  let value = 0xffffffff;
  for (let i = 0; i < data.length; i++) value = CRC[(value ^ data[i]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
