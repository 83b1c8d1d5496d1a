/** The sound of a file, second by second: fetched when it is needed, decoded by the browser (WebCodecs). */

import { ByteReader } from "../byte-reader.js";
import { Container } from "../container.js";
import { BrokenFile, Unsupported } from "../errors.js";
import { LRUCache } from "../lru-cache.js";
import { readMessagePack } from "../message-pack.js";

/**
 * @typedef {{codec: string, sampleRate: number, channels: number, config: Uint8Array}} SoundFormat
 * @typedef {import("../segments.js").Chunk & {firstFrame: number, number: number}} Second a chunk: of packets that begin in
 *   one second; firstFrame: of its segment; number: of seconds from there
 * @typedef {{time: number, data: Uint8Array}} Packet time: seconds of the video
 * @typedef {{begin: number, channels: Float32Array<ArrayBuffer>[], sampleRate: number}} Samples begin: seconds of the video
 */

const LEAD_S = 0.08; // of packets that a decoder takes to begin
const KEPT = 8; // seconds
/** @type {[number, number]} */
const PRE_SKIP = [10, 12]; // its place in OpusHead
const MAPPING_FAMILY = 18;

export class SoundTrack {
  /** @type {LRUCache<Promise<Samples | null>>} */ #decoded = new LRUCache(KEPT);

  /** Throws Unsupported where the browser does not decode it. @param {string} address of the file @param {(frame: number) => number} startOf a frame, in seconds */
  static async open(address, startOf) {
    const container = await Container.open(address);
    if (!container.sound) throw new BrokenFile("The file has no sound.");
    const config = decoderConfig(container.sound.format);
    const codec = config.codec === "opus" ? "Opus" : "AAC";
    if (typeof AudioDecoder === "undefined") throw new Unsupported(window.isSecureContext ? "this browser decodes no sound" : "needs https");
    if (!(await AudioDecoder.isConfigSupported(config)).supported) throw new Unsupported(`this browser does not decode ${codec}`);
    return new SoundTrack(container, container.sound, config, startOf);
  }

  /** @param {Container} container @param {NonNullable<Container["sound"]>} sound @param {AudioDecoderConfig} config @param {(frame: number) => number} startOf */
  constructor(container, sound, config, startOf) {
    this.container = container;
    this.seconds = sound.seconds;
    this.startOf = startOf;
    const { codec, channels, config: bytes } = sound.format;
    this.ambisonic = codec === "opus" ? [2, 3].includes(bytes[MAPPING_FAMILY]) : channels === 4; // AAC does not say
    this.config = config;
  }

  /** Bytes received so far. */
  get bytes() {
    return this.container.reader.received;
  }

  /** The last of `seconds` that begins at or before a time of the video. @param {number} time */
  indexAt(time) {
    return Math.max(0, this.seconds.findLastIndex((_, index) => this.beginOf(index) <= time));
  }

  /** When a second begins. @param {number} index */
  beginOf(index) {
    const { firstFrame, number } = this.seconds[index];
    return this.startOf(firstFrame) + number;
  }

  /** What a second sounds like; null: there are no packets in it. @param {number} index @returns {Promise<Samples | null>} */
  samples(index) {
    const found = this.#decoded.get(index, () => this.#decode(index));
    found.catch(() => this.#decoded.delete(index)); // it is asked for again
    return found;
  }

  /** @param {number} index @returns {Promise<Samples | null>} */
  async #decode(index) {
    const before = index > 0 ? await this.#packets(index - 1) : [];
    const packets = await this.#packets(index);
    if (!packets.length) return null;
    const begin = packets[0].time;
    const lead = before.filter(({ time }) => begin - LEAD_S <= time && time < begin);
    return join(await this.#run([...lead, ...packets]), begin);
  }

  /** @param {number} index @returns {Promise<Packet[]>} in order */
  async #packets(index) {
    const { firstFrame, start, length, checksum } = this.seconds[index];
    const zero = this.startOf(firstFrame);
    if (!length) return [];
    await this.container.reader.fetch([{ start, length }]);
    const reader = new ByteReader(this.container.bytes({ start, length, checksum }));
    return readMessagePack(reader).map((/** @type {[number, Uint8Array]} */ [time, data]) => ({ time: zero + time / this.config.sampleRate, data }));
  }

  /** @param {Packet[]} packets @returns {Promise<{time: number, data: AudioData}[]>} times: seconds of the video */
  async #run(packets) {
    const zero = packets[0].time; // times below 0 are not for decoders
    /** @type {{time: number, data: AudioData}[]} */
    const heard = [];
    /** @type {Promise<void>} */
    const done = new Promise((resolve, reject) => {
      const output = (/** @type {AudioData} */ data) => heard.push({ time: zero + data.timestamp / 1e6, data });
      const decoder = new AudioDecoder({ output, error: reject });
      decoder.configure(this.config);
      for (const { time, data } of packets) decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: Math.round((time - zero) * 1e6), data }));
      decoder.flush().then(() => (decoder.close(), resolve()), reject);
    });
    await done;
    return heard;
  }
}

/** Decoded packets as one stretch from `begin` on. @param {{time: number, data: AudioData}[]} heard @param {number} begin @returns {Samples | null} */
function join(heard, begin) {
  if (!heard.length) return null;
  const { sampleRate, numberOfChannels } = heard[0].data;
  const placed = heard.map(({ time, data }) => ({ at: Math.round((time - begin) * sampleRate), data }));
  const length = Math.max(...placed.map(({ at, data }) => at + data.numberOfFrames));
  const channels = Array.from({ length: numberOfChannels }, () => new Float32Array(Math.max(1, length)));
  for (const { at, data } of placed) {
    const skip = Math.max(0, -at);
    const frameCount = data.numberOfFrames - skip;
    if (frameCount > 0)
      channels.forEach((channel, planeIndex) =>
        data.copyTo(channel.subarray(at + skip, at + skip + frameCount), { planeIndex, frameOffset: skip, frameCount, format: "f32-planar" }));
    data.close();
  }
  return { begin, channels, sampleRate };
}

/** @param {SoundFormat} format @returns {AudioDecoderConfig} */
function decoderConfig({ codec, sampleRate, channels, config }) {
  if (codec === "opus") return { codec, sampleRate, numberOfChannels: channels, description: withoutSkip(config) };
  const kind = config[0] >> 3; // of AAC; 31: the next six bits, and 32
  const object = kind < 31 ? kind : 32 + ((config[0] & 7) << 3) + (config[1] >> 5);
  return { codec: `mp4a.40.${object}`, sampleRate, numberOfChannels: channels, description: config };
}

/** OpusHead that lets no sample be skipped: the times of packets say what precedes the video. @param {Uint8Array} head */
function withoutSkip(head) {
  const changed = head.slice();
  changed.fill(0, ...PRE_SKIP);
  return changed;
}
