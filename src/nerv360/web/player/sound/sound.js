/**
 * Plays the sound of a file in step with a clock: the sound follows the time that the player tells it at every tick. A
 * second is decoded ahead, and begun at its time; where the two part, it is begun anew.
 */

import { Ambisonics } from "./ambisonics.js";
import { ServerGone } from "../errors.js";
import { SoundTrack } from "./sound-track.js";

const AHEAD_S = 1.5; // of the video, in which seconds are decoded and scheduled
const APART_S = 0.08; // from the clock, at which the sound is begun anew

const RETRY_MS = 1500; // after the server was gone

/**
 * @typedef {{began: number, latency: number, time: number, speed: number, next: number, nodes: Set<AudioBufferSourceNode>}} Run
 *   playing on: at `began` of the audio context, `time` of the video is heard; latency: seconds from a node to the ear;
 *   next: second to be scheduled
 */

export class Sound {
  volume = 1;
  muted = false;
  problem = ""; // why nothing is heard, for people
  /** @type {AudioContext | null} */ #context = null;
  /** @type {GainNode | null} */ #gain = null;
  /** @type {Ambisonics | null} */ #ambisonics = null; // where the sound is of all directions
  /** @type {SoundTrack | null} */ #track = null;
  #opening = false;
  #silentUntil = 0; // milliseconds
  /** @type {Run | null} */ #run = null;
  #closed = false;

  /**
   * @param {string} address of the file @param {{codec: string, sampleRate: number, channels: number}} format
   * @param {(frame: number) => number} startOf a frame, in seconds
   */
  constructor(address, format, startOf) {
    this.address = address;
    this.startOf = startOf;
    this.format = format;
  }

  /** For people. */
  get description() {
    const { codec, sampleRate, channels } = this.format;
    const name = `${codec === "opus" ? "Opus" : "AAC"}, ${sampleRate / 1000} kHz, ${channels} ${channels === 1 ? "channel" : "channels"}`;
    return this.problem ? `${name}; silent: ${this.problem}` : name;
  }

  /** Bytes received so far. */
  get bytes() {
    return this.#track?.bytes ?? 0;
  }

  /** What is heard now, in seconds of the video; null: nothing. */
  get time() {
    if (!this.#run || !this.#context) return null;
    return this.#run.time + (this.#context.currentTime - this.#run.began) * this.#run.speed;
  }

  /** Call this when the user does something: browsers let a page be heard only then. */
  wake() {
    if (this.muted || this.problem || this.#closed) return;
    try {
      this.#context ??= new AudioContext({ sampleRate: this.format.sampleRate });
    } catch (error) {
      return this.#fail(error);
    }
    if (!this.#gain) {
      this.#gain = new GainNode(this.#context, { gain: this.volume });
      this.#gain.connect(this.#context.destination);
    }
    if (this.#context.state !== "running") this.#context.resume().catch(() => {});
  }

  /** @param {number} volume 0..1 @param {boolean} muted */
  setVolume(volume, muted) {
    this.volume = volume;
    this.muted = muted;
    this.#gain?.gain.setTargetAtTime(volume, 0, 0.01);
  }

  /** Ears turn with the view. @param {number} yawDeg */
  turn(yawDeg) {
    this.#ambisonics?.turn(yawDeg);
  }

  /** Be at this time of the video, and go on at this speed, or be silent. @param {number} time @param {boolean} playing @param {number} speed */
  follow(time, playing, speed) {
    if (!playing || this.muted || this.problem || this.#closed || performance.now() < this.#silentUntil) return this.#stop();
    this.#open();
    if (this.#context?.state !== "running" && navigator.userActivation?.hasBeenActive) this.wake();
    const context = this.#context;
    if (context?.state !== "running" || !this.#track) return;
    const apart = Math.abs((this.time ?? Infinity) - time);
    if (this.#run?.speed !== speed || apart > APART_S * Math.max(1, speed)) {
      this.#stop();
      const [began, latency, next] = [context.currentTime, context.outputLatency || 0, this.#track.indexAt(time)];
      this.#run = { began, latency, time, speed, next, nodes: new Set() };
    }
    const run = /** @type {Run} */ (this.#run);
    for (; run.next < this.#track.seconds.length && this.#track.beginOf(run.next) < time + AHEAD_S * speed; run.next++)
      this.#schedule(run, run.next, this.#track, context);
  }

  close() {
    this.#stop();
    this.#closed = true;
    this.#context?.close();
  }

  async #open() {
    if (this.#opening) return;
    this.#opening = true;
    try {
      this.#track = await SoundTrack.open(this.address, this.startOf);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {Run} run @param {number} index @param {SoundTrack} track @param {AudioContext} context */
  async #schedule(run, index, track, context) {
    try {
      const samples = await track.samples(index);
      if (!samples || run !== this.#run || !this.#gain) return;
      const { begin, channels, sampleRate } = samples;
      const buffer = new AudioBuffer({ length: channels[0].length, numberOfChannels: channels.length, sampleRate });
      channels.forEach((channel, number) => buffer.copyToChannel(channel, number));
      const node = new AudioBufferSourceNode(context, { buffer, playbackRate: run.speed });
      if (track.ambisonic) this.#ambisonics ??= new Ambisonics(context, this.#gain);
      node.connect(this.#ambisonics?.input ?? this.#gain);
      run.nodes.add(node);
      node.onended = () => run.nodes.delete(node);
      const due = run.began - run.latency + (begin - run.time) / run.speed;
      const late = Math.max(0, context.currentTime - due);
      node.start(due + late, late * run.speed);
    } catch (error) {
      if (run === this.#run) this.#fail(error);
    }
  }

  #stop() {
    for (const node of this.#run?.nodes ?? []) node.stop();
    this.#run = null;
  }

  /** The picture goes on. @param {unknown} error */
  #fail(error) {
    this.#stop();
    if (error instanceof ServerGone) {
      this.#opening = this.#track !== null;
      this.#silentUntil = performance.now() + RETRY_MS;
    } else this.problem = error instanceof Error ? error.message : String(error);
  }
}
