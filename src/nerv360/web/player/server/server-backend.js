/** Frames that a server decodes: requests and pictures over a WebSocket. */

import { SILENT_MS } from "../download.js";
import { BrokenFile, ServerGone } from "../errors.js";
import { H264Decoder, decoderConfig } from "./h264-decoder.js";

const HEADER_BYTES = 9; // bytes before a picture
const JPEG = 0; // kinds of pictures
const H264_KEY = 1; // begins a stream

export class ServerBackend {
  bytes = 0;
  /** @type {Map<number, {resolve: (answer: ArrayBuffer) => void, reject: (error: Error) => void}>} */ #pending = new Map();
  #nextId = 0;
  #silenceTimer = 0;
  #closeReason = "";
  #socket;
  #h264;

  /**
   * @param {URL} address of the WebSocket
   * @param {import("../player.js").Format | "auto"} format of pictures while something moves; by default H.264 from afar
   * @param {AbortSignal} signal closes it, opened or not
   * @returns {Promise<ServerBackend>}
   */
  static async open(address, format, signal) {
    const near = /^(localhost|127\..*|\[::1\])$/.test(address.hostname);
    const config = (format === "auto" ? !near : format === "h264") ? await decoderConfig() : null;
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    signal.addEventListener("abort", () => socket.close());
    const silenceTimer = window.setTimeout(() => socket.close(), SILENT_MS);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onclose = () => reject(new ServerGone());
    });
    window.clearTimeout(silenceTimer);
    return new ServerBackend(socket, config && new H264Decoder(config));
  }

  /** @param {WebSocket} socket @param {H264Decoder | null} h264 asked for while something moves */
  constructor(socket, h264) {
    this.#socket = socket;
    this.#h264 = h264;
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ reason }) => this.#disconnected(reason);
  }

  /** Whether the connection is lost for good: another backend has to be opened. */
  get lost() {
    return this.#socket.readyState !== WebSocket.OPEN;
  }

  get description() {
    return this.#h264 ? "the server, H.264" : "the server";
  }

  /**
   * @param {import("../player.js").ViewRequest} request
   * @returns {Promise<import("../player.js").Decoded>}
   */
  async decode(request) {
    const left = await this.#decode(request, "left");
    if (request.eyes === 1) return left;
    const { picture, milliseconds } = await this.#decode(request, "right");
    return { ...left, right: picture, milliseconds: left.milliseconds + milliseconds };
  }

  /**
   * @param {import("../player.js").ViewRequest} request @param {"left" | "right"} eye
   * @returns {Promise<import("../player.js").Decoded & {picture: ImageBitmap}>}
   */
  async #decode(request, eye) {
    const { frame, view, moving } = request;
    const stream = moving && this.#h264 !== null;
    const side = (/** @type {number} */ pixels) => (stream ? Math.max(2, pixels - (pixels % 2)) : pixels);
    const { yawDeg, pitchDeg, rollDeg, hfovDeg, vfovDeg, width, height } = view;
    const answer = await this.#request({
      frame, yawDeg, pitchDeg, rollDeg, hfovDeg, vfovDeg, width: side(width), height: side(height),
      format: stream ? "h264" : "jpeg", draft: moving, eye,
    });
    const header = new DataView(answer);
    const data = new Uint8Array(answer, HEADER_BYTES);
    try {
      const picture = await this.#picture(header.getUint8(8), data);
      return { picture, right: null, milliseconds: header.getFloat32(4, true), rough: stream, network: null, facts: {} };
    } catch (error) {
      if (!stream) throw error;
      this.#h264?.close();
      this.#h264 = null; // rather than fail again and again
      return this.#decode(request, eye);
    }
  }

  close() {
    this.#h264?.close();
    this.#disconnected();
  }

  /** @param {number} kind @param {Uint8Array<ArrayBuffer>} data @returns {Promise<ImageBitmap>} */
  #picture(kind, data) {
    if (this.#h264 && kind !== JPEG) return this.#h264.decode(data, kind === H264_KEY);
    this.#h264?.close(); // the server ends the stream with it
    return createImageBitmap(new Blob([data], { type: "image/jpeg" }));
  }

  /** @param {object} request @returns {Promise<ArrayBuffer>} the answer */
  #request(request) {
    if (this.lost) return Promise.reject(new ServerGone(this.#closeReason));
    const id = this.#nextId++;
    this.#socket.send(JSON.stringify({ id, ...request }));
    const answer = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#watchSilence();
    return answer;
  }

  /** While a view is waited for, a server that is there says that it works on it. */
  #watchSilence() {
    window.clearTimeout(this.#silenceTimer);
    if (this.#pending.size) this.#silenceTimer = window.setTimeout(() => this.#disconnected(), SILENT_MS);
  }

  /** @param {ArrayBuffer | string} data */
  #receive(data) {
    if (typeof data === "string") {
      const { id, error, broken } = JSON.parse(data);
      if (error) this.#settle(id)?.reject(broken ? new BrokenFile(error) : new Error(error));
    } else {
      this.bytes += data.byteLength;
      this.#settle(new DataView(data).getUint32(0, true))?.resolve(data);
    }
    this.#watchSilence();
  }

  /** @param {number} id */
  #settle(id) {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  /** @param {string} reason what the server said, if it did */
  #disconnected(reason = "") {
    window.clearTimeout(this.#silenceTimer);
    this.#closeReason ||= reason;
    for (const { reject } of this.#pending.values()) reject(new ServerGone(this.#closeReason));
    this.#pending.clear();
    this.#socket.close();
  }
}
