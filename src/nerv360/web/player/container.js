/** A .nerv360 file behind an address: headers and chunks, read by byte ranges when they are needed. */

import { ByteReader } from "./byte-reader.js";
import { crc32 } from "./crc32.js";
import { BrokenFile } from "./errors.js";
import { readMessagePack } from "./message-pack.js";
import { RangeReader } from "./range-reader.js";
import { frameGroupsOf, readSegment } from "./segments.js";

/** @typedef {import("./segments.js").Segment} Segment */

const MAGIC = "\x89NERV360";
const VERSIONS = [5, 10, 11, 12, 14];
const MAX_SOUND_CHUNK = 2 ** 22; // bytes
const FIRST_REQUEST = 4096; // bytes: usually all headers

export class Container {
  /** @type {Segment[]} */ segments = []; // by index; read when first needed
  /** @type {{frames: number, firstFrame: number, start: number, headerLength: number, checksum: number}[]} */ #entries = [];
  version = 0;
  width = 0; // of the panorama
  height = 0;
  frames = 0;
  frameRate = 0; // frames a second
  eyes = 1; // pictures of a frame
  /** @type {{format: import("./sound/sound-track.js").SoundFormat, seconds: import("./sound/sound-track.js").Second[]} | null} */ sound = null;

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
      this.segments[index] = readSegment(fields, { index, firstFrame, frames }, start + headerLength, this);
    }
    return this.segments[index];
  }

  /** Fetch chunks, neighbouring ones in one request. @param {Segment} segment @param {number[]} chunks */
  async fetch(segment, chunks) {
    await this.reader.fetch(chunks.map((index) => segment.chunks[index]));
  }

  /** The bytes of a fetched chunk, checked. @param {Segment} segment @param {number} index */
  chunk(segment, index) {
    return this.bytes(segment.chunks[index]);
  }

  /** The bytes of a fetched stretch, checked. @param {import("./segments.js").Chunk} chunk */
  bytes({ start, length, checksum }) {
    const data = this.reader.bytes(start, length);
    if (crc32(data) !== checksum) throw new BrokenFile("The file is damaged: a checksum is wrong.");
    return data;
  }

  /** The frames whose chunks are there: pairs of a first frame and an end. @returns {[number, number][]} */
  get buffered() {
    /** @type {[number, number][]} */
    const ranges = [];
    for (const segment of this.segments.filter(Boolean))
      for (const { first, end, chunks } of frameGroupsOf(segment)) {
        if (!chunks.every((index) => this.reader.has(segment.chunks[index]))) continue;
        const last = ranges[ranges.length - 1];
        if (last?.[1] === first) last[1] = end;
        else ranges.push([first, end]);
      }
    return ranges;
  }

  async #readHeaders() {
    const reader = this.reader;
    await reader.fetch([{ start: 0, length: 18 }], FIRST_REQUEST);
    const preamble = new ByteReader(reader.bytes(0, 18)).view(18);
    const magic = String.fromCharCode(...reader.bytes(0, 8));
    if (magic !== MAGIC) throw new BrokenFile("This is not a .nerv360 file.");
    this.version = preamble.getUint16(8, true);
    if (this.version > Math.max(...VERSIONS)) throw new BrokenFile("The file was written by a newer nerv360: update the player.");
    if (!VERSIONS.includes(this.version)) throw new BrokenFile("The file was written by an older nerv360: encode the video again.");
    const length = preamble.getUint32(10, true);
    const header = await this.#header(18, length, preamble.getUint32(14, true));
    const entries = header[6];
    [this.width, this.height, this.frames] = header;
    this.frameRate = header[3] / header[4];
    this.eyes = header[9] ?? 1;
    if (header.length > 10 || ![1, 2].includes(this.eyes)) throw new BrokenFile("The file is damaged: impossible eyes.");
    const end = 18 + length + sum(entries.map((/** @type {number[]} */ entry) => entry[1]));
    if (reader.size !== end) throw new BrokenFile(`The file is damaged: it has ${reader.size} bytes, and should have ${end}.`);
    let start = 18 + length;
    let firstFrame = 0;
    for (const [frames, size, headerLength, checksum] of entries) {
      this.#entries.push({ frames, firstFrame, start, headerLength, checksum });
      start += size;
      firstFrame += frames;
    }
    if (header[7]) this.sound = readSound(header[7], this.#entries, start);
    await this.segmentOf(0);
  }

  /** @returns {Promise<any[]>} */
  async #header(/** @type {number} */ start, /** @type {number} */ length, /** @type {number} */ checksum) {
    await this.reader.fetch([{ start, length }]);
    const data = this.reader.bytes(start, length);
    if (crc32(data) !== checksum) throw new BrokenFile("The file is damaged: the checksum of a header is wrong.");
    return readMessagePack(new ByteReader(data));
  }
}

/**
 * The format of the sound, and its chunks, which end their segments. @param {any[]} track
 * @param {{start: number, firstFrame: number}[]} segments @param {number} end of the file
 */
function readSound([codec, sampleRate, channels, config, tables], segments, end) {
  const known = ["aac", "opus"].includes(codec) && sampleRate > 0 && channels > 0 && config.length > 1 && tables.length === segments.length;
  if (!known) throw new BrokenFile("The file is damaged: impossible sound.");
  const seconds = segments.flatMap(({ firstFrame }, index) => {
    const table = /** @type {[number, number][]} */ (tables[index]);
    let start = (segments[index + 1]?.start ?? end) - sum(table.map(([length]) => length));
    if (table.some(([length]) => length > MAX_SOUND_CHUNK)) throw new BrokenFile("The file is damaged: impossible sound.");
    return table.map(([length, checksum], number) => {
      start += length;
      return { start: start - length, length, checksum, firstFrame, number };
    });
  });
  return { format: { codec, sampleRate, channels, config }, seconds };
}

const sum = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a + b, 0);
