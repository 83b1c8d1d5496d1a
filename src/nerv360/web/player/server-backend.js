/** Frames that a server decodes: requests and pictures over a WebSocket. */

import { SILENT_MS } from "./download.js";
import { BrokenFile, ServerGone } from "./errors.js";
import { H264, decoderConfig } from "./h264-decoder.js";

const HEADER = 9; // bytes before a picture
const JPEG = 0; // kinds of pictures
const KEY = 1; // of H.264

export class ServerBackend {
  bytes = 0;
  /** @type {Map<number, {resolve: (answer: ArrayBuffer) => void, reject: (error: Error) => void}>} */ #waiting = new Map();
  #next = 0;
  #silence = 0;
  #farewell = "";
  #socket;
  #h264;

  /**
   * @param {URL} address of the WebSocket
   * @param {import("./player.js").Format | "auto"} format of pictures while something moves; by default H.264 from afar
   * @returns {Promise<ServerBackend>}
   */
  static async open(address, format) {
    const near = /^(localhost|127\..*|\[::1\])$/.test(address.hostname);
    const config = (format === "auto" ? !near : format === "h264") ? await decoderConfig() : null;
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    const silence = window.setTimeout(() => socket.close(), SILENT_MS);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onclose = () => reject(new ServerGone());
    });
    window.clearTimeout(silence);
    return new ServerBackend(socket, config && new H264(config));
  }

  /** @param {WebSocket} socket @param {H264 | null} h264 that is asked for while something moves */
  constructor(socket, h264) {
    this.#socket = socket;
    this.#h264 = h264;
    socket.onmessage = ({ data }) => this.#answered(data);
    socket.onclose = ({ reason }) => this.#gone(reason);
  }

  /** For ever: it takes another. */
  get lost() {
    return this.#socket.readyState !== WebSocket.OPEN;
  }

  get description() {
    return this.#h264 ? "the server, H.264" : "the server";
  }

  /**
   * @param {import("./player.js").ViewRequest} request
   * @returns {Promise<import("./player.js").Decoded>}
   */
  async decode({ frame, view, moving }) {
    const stream = moving && this.#h264 !== null;
    const side = (/** @type {number} */ pixels) => (stream ? Math.max(2, pixels - (pixels % 2)) : pixels);
    const { yawDeg, pitchDeg, rollDeg, hfovDeg, vfovDeg, width, height } = view;
    const answer = await this.#ask({
      frame, yawDeg, pitchDeg, rollDeg, hfovDeg, vfovDeg, width: side(width), height: side(height),
      format: stream ? "h264" : "jpeg", draft: moving,
    });
    const header = new DataView(answer);
    const data = new Uint8Array(answer, HEADER);
    try {
      const picture = await this.#picture(header.getUint8(8), data);
      return { picture, milliseconds: header.getFloat32(4, true), rough: stream, network: null };
    } catch (error) {
      if (!stream) throw error;
      this.#h264?.close();
      this.#h264 = null; // rather than fail again and again
      return this.decode({ frame, view, moving });
    }
  }

  close() {
    this.#h264?.close();
    this.#gone();
  }

  /** @param {number} kind @param {Uint8Array<ArrayBuffer>} data @returns {Promise<ImageBitmap>} */
  #picture(kind, data) {
    if (this.#h264 && kind !== JPEG) return this.#h264.decode(data, kind === KEY);
    this.#h264?.close(); // the server ends the stream with it
    return createImageBitmap(new Blob([data], { type: "image/jpeg" }));
  }

  /** @param {object} request @returns {Promise<ArrayBuffer>} the answer */
  #ask(request) {
    if (this.lost) return Promise.reject(new ServerGone(this.#farewell));
    const id = this.#next++;
    this.#socket.send(JSON.stringify({ id, ...request }));
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#heard();
    return answer;
  }

  /** While a view is waited for, a server that is there says that it works on it. */
  #heard() {
    window.clearTimeout(this.#silence);
    if (this.#waiting.size) this.#silence = window.setTimeout(() => this.#gone(), SILENT_MS);
  }

  /** @param {ArrayBuffer | string} data */
  #answered(data) {
    if (typeof data === "string") {
      const { id, error, broken } = JSON.parse(data);
      if (error) this.#take(id)?.reject(broken ? new BrokenFile(error) : new Error(error));
    } else {
      this.bytes += data.byteLength;
      this.#take(new DataView(data).getUint32(0, true))?.resolve(data);
    }
    this.#heard();
  }

  /** @param {number} id */
  #take(id) {
    const asked = this.#waiting.get(id);
    this.#waiting.delete(id);
    return asked;
  }

  /** @param {string} farewell what the server said, if it did */
  #gone(farewell = "") {
    window.clearTimeout(this.#silence);
    this.#farewell ||= farewell;
    for (const { reject } of this.#waiting.values()) reject(new ServerGone(this.#farewell));
    this.#waiting.clear();
    this.#socket.close();
  }
}
