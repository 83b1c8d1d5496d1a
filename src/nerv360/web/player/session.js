/**
 * A video and the backend that decodes it: one view is asked for at a time, always the newest. What fails is tried again:
 * with the same backend, with another, or with another video that has taken the place of this one.
 */

import { AdaptiveResolution } from "./adaptive-resolution.js";
import { BrowserBackend, webGL, webGPU } from "./browser-backend.js";
import { SILENT_MS, downloadJson, importModule } from "./download.js";
import { BrokenFile, PlayerError, ServerGone, Unsupported } from "./errors.js";

/**
 * @typedef {import("./player.js").Manifest} Manifest
 * @typedef {import("./player.js").BackendName} BackendName
 * @typedef {import("./player.js").ViewRequest} ViewRequest
 * @typedef {import("./player.js").Decoded} Decoded
 * @typedef {import("./server/server-backend.js").ServerBackend} ServerBackend
 * @typedef {object} Host what a session is told by, and tells
 * @property {() => void} prepare throws Unsupported where pictures cannot be shown
 * @property {(manifest: Manifest, first: boolean) => void} opened a video, the first one or another in its place
 * @property {() => ViewRequest | null} wanted the newest view; null while none can be shown
 * @property {(decoded: Decoded, request: ViewRequest) => boolean} show draw a picture; false where that is not possible now
 * @property {(decoded: Decoded, request: ViewRequest) => void} shown the picture counts
 * @property {(event: string) => void} emit
 * @property {() => void} refresh something changed: draw, and ask again
 */

const RETRY_MS = 1500;
const LATE = `A part of the player has not come for ${SILENT_MS / 1000} seconds: the server is slow, or does not answer.`;
const PATIENCE = { factor: 4, minMs: 400, maxMs: 2000 }; // of the usual time for a picture: then playing waits for it

export class Session {
  /** @type {Manifest | null} */ manifest = null;
  /** @type {import("./player.js").State} */ state = "loading";
  /** @type {PlayerError | null} */ error = null;
  /** @type {BackendName | null} */ backend = null;
  /** @type {BackendName[]} */ backends = []; // that can decode this video here, the best first
  /** @type {import("./onnx/runtime.js").Progress | null} */ progress = null;
  /** @type {[number, number][]} */ buffered = []; // frames whose bytes are there: first ones and ends
  rough = false; // the picture gets better at rest
  fallback = ""; // why it is not decoded by WebGL, for people
  resolution = new AdaptiveResolution();
  /** @type {import("./player.js").Options} */ #options;
  /** @type {Host} */ #host;
  /** @type {BrowserBackend | ServerBackend | null} */ #decoder = null;
  #opening = new AbortController(); // of the backend
  #openings = 0; // of videos and backends: only the last one counts
  #busy = false;
  #requestedAt = 0; // milliseconds
  #usualMs = 0; // from a request to its picture
  #drawnKey = ""; // of the request whose picture is shown
  /** @type {Promise<unknown> | null} */ #network = null; // that replaces a preview, while it loads
  #retryTimer = 0;
  #retrying = false; // after the server was gone: a preview is not shown as a success
  #closed = false;

  /** @param {import("./player.js").Options} options @param {Host} host */
  constructor(options, host) {
    this.#options = options;
    this.#host = host;
  }

  /** The address that those of the manifest are relative to. */
  get base() {
    return new URL(this.#options.src, document.baseURI);
  }

  /** How the present backend decodes, for people. */
  get description() {
    return this.#decoder?.description ?? "";
  }

  /** Bytes received so far. */
  get bytes() {
    return this.#decoder?.bytes ?? 0;
  }

  /** Whether views are sampled on the canvas, at its size, from a window of the panorama. */
  get drawsWindows() {
    return this.backend !== "server" && Boolean(this.manifest?.decoders?.every((name) => name === "motion"));
  }

  get hasPicture() {
    return this.#drawnKey !== "";
  }

  /** Whether the newest view is shown, as sharp as it gets. */
  get settled() {
    return this.state === "ready" && !this.#busy && !this.#network && this.#nextRequest() === null;
  }

  /** Whether a picture takes so long that playing waits for it. @param {number} now milliseconds */
  stalled(now) {
    const { factor, minMs, maxMs } = PATIENCE;
    const patience = Math.min(maxMs, Math.max(minMs, factor * this.#usualMs));
    return this.#busy && now - this.#requestedAt > patience;
  }

  async start() {
    try {
      this.#host.prepare();
      await this.#take(await this.#readManifest());
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Decode with another backend, or anew with this one. @param {BackendName} name */
  async open(name) {
    const { manifest } = this;
    if (!manifest) return;
    const opening = ++this.#openings;
    this.#closeDecoder();
    this.#busy = false; // what was asked of it is void
    this.backend = name;
    if (name === "webgl") this.fallback = "";
    this.#drawnKey = "";
    this.#network = null;
    this.resolution.reset();
    this.#setProgress(null);
    this.#setBuffered([]);
    this.#setState("loading");
    this.#host.emit("settings");
    try {
      this.#opening = new AbortController();
      const decoder = await this.#openDecoder(name, manifest, this.#opening.signal);
      if (this.#closed || opening !== this.#openings) return decoder.close();
      this.#decoder = decoder;
    } catch (error) {
      if (opening === this.#openings) this.#fail(error);
      return;
    }
    await this.request(true);
  }

  /** Decode with a backend, unless that is the present one. @param {BackendName} name */
  async setBackend(name) {
    if (name !== this.backend || !this.#decoder) await this.open(name);
  }

  /** Try again after an error: with what there is, or from the beginning where the video is another one by now. */
  async retry() {
    window.clearTimeout(this.#retryTimer);
    if (!this.manifest) return this.start();
    const [opening, gone] = [++this.#openings, this.error instanceof ServerGone];
    try {
      const manifest = await this.#readManifest();
      if (opening !== this.#openings || this.#closed) return;
      const same = JSON.stringify(manifest) === JSON.stringify(this.manifest);
      if (!this.backend || !same) return await this.#take(manifest);
    } catch (error) {
      if (opening === this.#openings) this.#fail(error);
      return;
    }
    this.#drawnKey = "";
    this.#retrying = gone;
    if (gone && this.#decoder && !this.#decoder.lost) return this.request(true);
    await this.open(this.backend);
  }

  /** Ask for the newest view, unless one is being decoded. @param {boolean} afterError ask in spite of it */
  async request(afterError = false) {
    const decoder = this.#decoder;
    if (!decoder || this.#busy || this.#closed || (this.state === "error" && !afterError)) return;
    const request = this.#nextRequest();
    if (!request) return;
    this.#busy = true;
    this.#requestedAt = performance.now();
    try {
      const decoded = await decoder.decode(request);
      if (this.#retrying) await decoded.network;
      if (decoder === this.#decoder && this.#host.show(decoded, request)) this.#accept(decoded, request);
    } catch (error) {
      if (decoder === this.#decoder) this.#fail(error);
    } finally {
      if (decoder === this.#decoder) this.#busy = false;
      this.#host.refresh();
    }
  }

  /** Ask for the present view again: the canvas has lost its picture. */
  invalidate() {
    this.#drawnKey = "";
  }

  close() {
    this.#closed = true;
    window.clearTimeout(this.#retryTimer);
    this.#closeDecoder();
  }

  #closeDecoder() {
    this.#opening.abort();
    this.#decoder?.close();
    this.#decoder = null;
  }

  /** @returns {Promise<Manifest>} */
  #readManifest() {
    return downloadJson(this.base, this.#options.src);
  }

  /** Open the video, or another that is there in its place. @param {Manifest} manifest */
  async #take(manifest) {
    const first = this.manifest === null;
    const wished = first ? this.#options.backend : this.backend;
    this.#closeDecoder();
    this.manifest = manifest;
    this.backends = await usableBackends(manifest);
    this.#host.opened(manifest, first);
    const chosen = this.backends.find((name) => name === wished) ?? this.backends[0];
    if (!chosen) throw new Unsupported(`The model ${manifest.model} needs a server: nerv360 play.`);
    await this.open(chosen);
  }

  /** @param {BackendName} name @param {Manifest} manifest @param {AbortSignal} signal @returns {Promise<BrowserBackend | ServerBackend>} */
  async #openDecoder(name, manifest, signal) {
    const { format = "auto", threads = 0 } = this.#options;
    /** @type {import("./browser-backend.js").BackendHost} */
    const host = {
      report: (progress) => this.#setProgress(progress),
      late: () => this.#setState("error", new ServerGone(LATE)), // what is waited for may still come, and counts then
      buffered: (ranges) => this.#setBuffered(ranges),
    };
    if (name !== "server") return BrowserBackend.open(manifest, this.base, name, threads, host, signal);
    const socket = new URL(/** @type {string} */ (manifest.server), this.base.href.replace(/^http/, "ws"));
    const address = new URL("./server/server-backend.js", import.meta.url);
    const { ServerBackend } = await importModule(() => import("./server/server-backend.js"), address, "The player", host.late);
    return ServerBackend.open(socket, format, signal);
  }

  /** What to decode now, or null where it is shown already. @returns {ViewRequest | null} */
  #nextRequest() {
    const request = this.#host.wanted();
    if (!request) return null;
    const sharper = this.rough && !request.moving && !this.#network;
    return keyOf(request) === this.#drawnKey && !sharper ? null : request;
  }

  /** @param {Decoded} decoded @param {ViewRequest} request */
  #accept(decoded, request) {
    this.#drawnKey = keyOf(request);
    this.#usualMs = 0.7 * this.#usualMs + 0.3 * (performance.now() - this.#requestedAt);
    this.rough = decoded.rough;
    this.#awaitNetwork(decoded.network);
    if (!decoded.network) this.resolution.measure(decoded.milliseconds, request.view); // a preview tells nothing
    this.#retrying = false;
    this.#setState("ready");
    this.#host.shown(decoded, request);
  }

  /** Ask again once it is there. @param {Promise<unknown> | null} network */
  #awaitNetwork(network) {
    this.#network = network;
    const settle = (/** @type {unknown} */ error) => {
      if (network !== this.#network) return;
      this.#network = null;
      if (error) this.#fail(error);
      else this.request(true); // it may have been late
      this.#host.refresh();
    };
    network?.then(() => settle(null), settle);
  }

  /** @param {import("./onnx/runtime.js").Progress | null} progress */
  #setProgress(progress) {
    this.progress = progress;
    this.#host.emit("progress");
  }

  /** @param {[number, number][]} ranges */
  #setBuffered(ranges) {
    this.buffered = ranges;
    this.#host.emit("buffered");
  }

  /** @param {import("./player.js").State} state @param {PlayerError | null} error */
  #setState(state, error = null) {
    const changed = state !== this.state || error?.message !== this.error?.message;
    this.state = state;
    this.error = error;
    if (changed) this.#host.emit("state");
  }

  /** @param {unknown} error */
  #fail(error) {
    if (this.#closed) return;
    const known = error instanceof PlayerError ? error : new BrokenFile(error instanceof Error ? error.message : String(error));
    const next = this.backends.find((name) => name !== "webgl");
    if (this.backend === "webgl" && known instanceof Unsupported && next) {
      this.fallback = known.message;
      this.open(next);
      return;
    }
    this.#setState("error", known);
    if (known instanceof ServerGone) this.#retryTimer = window.setTimeout(() => this.retry(), RETRY_MS);
  }
}

const keyOf = (/** @type {ViewRequest} */ { frame, view, eyes }) => JSON.stringify([frame, view, eyes]);

/** The backends that can decode a video here, the best first. @param {Manifest} manifest @returns {Promise<BackendName[]>} */
async function usableBackends({ server, decoders, networks }) {
  const shaders = decoders?.includes("grid") && !decoders.includes("onnx") ? webGL() : null;
  const all = decoders?.every((name, index) => name === "motion" || networks[index]);
  const gpu = all && networks.some((name) => name !== null) ? await webGPU() : null;
  const found = [
    shaders === "hardware" && "webgl", server && "server", shaders === "software" && "webgl",
    gpu === "hardware" && "webgpu", all && "wasm", gpu === "software" && "webgpu",
  ];
  return /** @type {BackendName[]} */ (found.filter(Boolean));
}
