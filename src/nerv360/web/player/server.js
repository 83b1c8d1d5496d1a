/** Frames that a server decodes: requests and JPEGs over a WebSocket. */

import { BrokenFile, ServerGone } from "./errors.js";

export class ServerBackend {
  /** @type {Map<number, {resolve: (answer: import("./player.js").Decoded) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  #next = 0;
  /** @type {WebSocket} */
  #socket;

  /** @param {URL} address of the WebSocket @returns {Promise<ServerBackend>} */
  static async open(address) {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new ServerGone());
    });
    return new ServerBackend(socket);
  }

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.#socket = socket;
    this.description = "the server";
    this.scales = false; // it decodes at the size that the network was trained for, however small the picture
    this.bytes = 0;
    socket.onmessage = ({ data }) => this.#answered(data);
    socket.onclose = () => this.#gone();
  }

  /**
   * @param {number} frame @param {import("./geometry.js").Viewport} view
   * @returns {Promise<import("./player.js").Decoded>}
   */
  decode(frame, view) {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(new ServerGone());
    const id = this.#next++;
    const { yawDeg, pitchDeg, rollDeg, hfovDeg, vfovDeg, width, height } = view;
    this.#socket.send(JSON.stringify({ id, frame, yawDeg, pitchDeg, rollDeg, hfovDeg, vfovDeg, width, height }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  close() {
    this.#socket.close();
  }

  /** @param {ArrayBuffer | string} data */
  async #answered(data) {
    if (typeof data === "string") {
      const { id, error, broken } = JSON.parse(data);
      this.#take(id)?.reject(broken ? new BrokenFile(error) : new Error(error));
      return;
    }
    this.bytes += data.byteLength;
    const header = new DataView(data);
    const asked = this.#take(header.getUint32(0, true));
    try {
      const picture = await createImageBitmap(new Blob([new Uint8Array(data, 8)], { type: "image/jpeg" }));
      asked?.resolve({ picture, milliseconds: header.getFloat32(4, true) });
    } catch (error) {
      asked?.reject(/** @type {Error} */ (error));
    }
  }

  /** @param {number} id */
  #take(id) {
    const asked = this.#waiting.get(id);
    this.#waiting.delete(id);
    return asked;
  }

  #gone() {
    for (const { reject } of this.#waiting.values()) reject(new ServerGone());
    this.#waiting.clear();
  }
}
