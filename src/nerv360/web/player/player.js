/**
 * Plays a .nerv360 video on a canvas: `new Player(canvas, {src: "player.json"})`.
 *
 *     view, time ─ newest wanted view ─ backend (browser or server) ─ picture ─ canvas
 *
 * One view is asked for at a time, always the newest; what the user has moved past is never decoded. Between two pictures
 * the canvas turns the last one. While the view moves, pictures are as small as the machine needs; at rest they are sharp.
 */

import { BrowserBackend, webGPU } from "./browser.js";
import { PictureCanvas } from "./canvas.js";
import { downloadJson } from "./download.js";
import { BrokenFile, PlayerError, ServerGone, Unsupported } from "./errors.js";
import { nativeView, otherFov, resized } from "./geometry.js";
import { ServerBackend } from "./server.js";
import { Source } from "./source.js";

/**
 * @typedef {{yawDeg: number, pitchDeg: number, rollDeg: number, fovDeg: number}} View degrees; the field of view is that of
 *   the longer side of the canvas
 * @typedef {{picture: ImageBitmap | import("./canvas.js").Pixels, milliseconds: number, rough: boolean,
 *   network: Promise<unknown> | null}} Decoded rough: at rest the same view would look better; network: of a preview, when
 *   there is more than previews
 * @typedef {{frame: number, view: import("./geometry.js").Viewport, moving: boolean}} Wanted
 * @typedef {"server" | "webgpu" | "wasm"} BackendName who decodes: the server, or this browser
 * @typedef {"jpeg" | "h264"} Format in which a server sends pictures while something moves
 * @typedef {"loading" | "ready" | "error"} State
 * @typedef {{src: string, backend?: BackendName | "auto", resolution?: number | "auto", threads?: number,
 *   format?: Format | "auto", view?: Partial<View>, time?: number, loop?: boolean}} Options
 *   threads: of WebAssembly, 0 for what the machine has; format: "auto" is H.264 from another machine, where it can be decoded
 * @typedef {{title: string, checksum: number, video: string, bytes: number, width: number, height: number, frames: number,
 *   frameRate: number, model: string, trained: {width: number, height: number, hfovDeg: number[]}, rollDeg: number[],
 *   networks: string[] | null, server: string | null, source: {video: string, times: string} | null}} Manifest
 * @typedef {{fps: number, milliseconds: number, width: number, height: number, bytes: number}} Statistics fps: pictures
 *   drawn in the last second; milliseconds: of decoding the last; bytes: received so far
 */

const REST_MS = 180;
const STALL_MS = 2000; // without the next picture, playing waits for it
const MOST_TICK_MS = 1000; // of playing at once: a page that was held up goes on from where it was
const SMALLER = [1, 0.75, 0.5]; // of each side; under half, nothing is made out any more
const PANORAMAS = /^hnerv/; // networks that decode nothing else: no picture is there sooner than another
const BUDGET_MS = 60; // for a picture while something moves
const FOV_DEG = { least: 25, most: 120 };
const RETRY_MS = 1500;
const MOST_PIXELS = 1 << 21;

/**
 * Events: "manifest"; "state"; "view"; "time"; "play"; "pause"; "picture" (with statistics in `player.statistics`);
 * "settings" (speed, loop, backend or resolution changed); "comparison" (with `player.psnrDb`); "progress" (of loading the
 * decoder, in `player.progress`).
 */
export class Player extends EventTarget {
  /** @type {Manifest | null} */ manifest = null;
  /** @type {State} */ state = "loading";
  /** @type {PlayerError | null} */ error = null;
  /** @type {Statistics} */ statistics = { fps: 0, milliseconds: 0, width: 0, height: 0, bytes: 0 };
  /** @type {import("./runtime.js").Progress | null} */ progress = null; // of loading the decoder, while it does
  playing = false;
  speed = 1;
  loop = true;
  /** @type {BackendName | null} */ backend = null;
  /** @type {number | "auto"} */ resolution = "auto";
  rough = false; // what is drawn, which at rest gets better
  /** @type {number | null} */ split = null; // share of the width, right of which the source is shown
  /** @type {number | null} */ psnrDb = null; // of the picture at rest, against the source

  /** @type {Options} */ #options;
  /** @type {HTMLCanvasElement} */ #canvas;
  /** @type {PictureCanvas | null} */ #output = null; // while there is WebGL
  /** @type {BrowserBackend | ServerBackend | null} */ #decoder = null;
  #view = { yawDeg: 0, pitchDeg: 0, rollDeg: 0, fovDeg: 78.1 };
  #home = { ...this.#view };
  #time = 0;
  #moved = -Infinity;
  #openings = 0; // the last one counts
  #busy = false;
  #asked = 0; // when the picture that is waited for was
  #drawn = "";
  /** @type {Promise<unknown> | null} */ #network = null; // that what is drawn, a preview, waits for
  #drawnFrame = 0;
  #cost = 0; // milliseconds per pixel
  #scale = 1; // of the sides of pictures while something moves
  /** @type {number[]} */ #pictures = [];
  #frameRequest = 0;
  #lastTick = 0;
  #rest = 0;
  #retry = 0;
  #retrying = false; // after the server was gone: what is tried again shows when it succeeds
  #closed = false;
  /** @type {Source | null} */ #source = null;
  /** @type {ResizeObserver} */ #observer;
  #listening = new AbortController();

  /** @param {HTMLCanvasElement} canvas @param {Options} options */
  constructor(canvas, options) {
    super();
    this.#options = options;
    this.#canvas = canvas;
    this.loop = options.loop ?? true;
    this.resolution = options.resolution ?? "auto";
    this.#observer = new ResizeObserver(() => {
      this.#fit();
      this.#refresh();
    });
    const { signal } = this.#listening;
    const lost = (/** @type {Event} */ event) => {
      event.preventDefault(); // so that it comes back
      this.#output = null;
    };
    canvas.addEventListener("webglcontextlost", lost, { signal });
    canvas.addEventListener("webglcontextrestored", () => this.#drawAnew(), { signal });
    queueMicrotask(() => this.#start()); // once the caller listens
  }

  /** @returns {View} */
  get view() {
    return { ...this.#view };
  }

  /** Seconds. */
  get time() {
    return this.#time;
  }

  get duration() {
    return this.manifest ? this.manifest.frames / this.manifest.frameRate : 0;
  }

  get frame() {
    if (!this.manifest) return 0;
    return Math.min(this.manifest.frames - 1, Math.floor(this.#time * this.manifest.frameRate + 1e-6));
  }

  /** What can decode this video here; the first is taken unless another is asked for. @type {BackendName[]} */
  backends = [];

  /** Whether the canvas shows the present view and time, as sharp as it gets. */
  get settled() {
    return this.state === "ready" && this.#fits && !this.#moving && !this.#busy && !this.#network && this.#wanted() === null;
  }

  /** How the present backend decodes, for people. */
  get description() {
    return this.#decoder?.description ?? "";
  }

  /** The view on the canvas, in its pixels. @returns {import("./geometry.js").Viewport} */
  get viewport() {
    const { width, height } = this.#canvas;
    const { yawDeg, pitchDeg, rollDeg, fovDeg } = this.#view;
    const wide = width >= height;
    const hfovDeg = wide ? fovDeg : otherFov(fovDeg, width / height);
    const vfovDeg = wide ? otherFov(fovDeg, height / width) : fovDeg;
    return { yawDeg, pitchDeg, rollDeg, hfovDeg, vfovDeg, width, height };
  }

  /** @param {Partial<View>} change */
  setView(change) {
    const view = { ...this.#view, ...change };
    if (!Object.values(view).every(Number.isFinite)) return;
    const turn = (/** @type {number} */ angle) => ((((angle + 180) % 360) + 360) % 360) - 180;
    this.#view = {
      yawDeg: turn(view.yawDeg),
      pitchDeg: Math.min(90, Math.max(-90, view.pitchDeg)),
      rollDeg: turn(view.rollDeg),
      fovDeg: Math.min(FOV_DEG.most, Math.max(FOV_DEG.least, view.fovDeg)),
    };
    this.#moved = performance.now();
    this.#emit("view");
    this.#refresh();
  }

  resetView() {
    this.setView(this.#home);
  }

  play() {
    if (this.playing || !this.manifest) return;
    if (this.#time >= this.duration - 1e-6 || this.frame === this.manifest.frames - 1) this.#time = 0;
    this.playing = true;
    this.#lastTick = 0;
    this.#emit("play");
    this.#refresh();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.#emit("pause");
    this.#refresh();
  }

  /** @param {number} seconds */
  seek(seconds) {
    if (!Number.isFinite(seconds)) return;
    this.#time = Math.min(Math.max(0, seconds), this.duration);
    this.#emit("time");
    this.#refresh();
  }

  /** Go to a neighbouring frame. @param {number} frames */
  step(frames) {
    if (!this.manifest) return;
    const frame = Math.min(this.manifest.frames - 1, Math.max(0, this.frame + frames));
    this.seek(frame / this.manifest.frameRate);
  }

  /** @param {number} speed 1 is that of the video */
  setSpeed(speed) {
    this.speed = speed;
    this.#emit("settings");
  }

  /** @param {boolean} loop */
  setLoop(loop) {
    this.loop = loop;
    this.#emit("settings");
  }

  /** @param {number | "auto"} resolution pixels of the shorter side, at most */
  setResolution(resolution) {
    this.resolution = resolution;
    this.#emit("settings");
    this.#refresh();
  }

  /** Show the source, where there is one, right of a part of the width; null: nowhere. @param {number | null} split */
  setComparison(split) {
    const { manifest } = this;
    if (!manifest?.source) return;
    this.split = split;
    if (split === null) {
      this.#source?.close();
      this.#source = null;
      this.psnrDb = null;
    } else if (!this.#source) {
      const [video, times] = [manifest.source.video, manifest.source.times].map((name) => new URL(name, this.#base).href);
      this.#source = new Source(video, times, () => this.#compare());
      this.#source.show(this.#drawnFrame);
    }
    this.#emit("comparison");
    this.#refresh();
  }

  /** Of what is compared with, where something is. @returns {"loading" | "shown" | "failed" | null} */
  get source() {
    if (!this.#source) return null;
    return this.#source.failed ? "failed" : this.#source.picture ? "shown" : "loading";
  }

  /** @param {BackendName} name */
  async setBackend(name) {
    if (name === this.backend && this.#decoder) return;
    await this.#open(name);
  }

  /** Try again after an error: with what there is, or from the beginning where the video is another one by now. */
  async retry() {
    window.clearTimeout(this.#retry);
    if (!this.manifest) return this.#start();
    const [opening, gone] = [++this.#openings, this.error instanceof ServerGone];
    try {
      const manifest = await this.#readManifest();
      if (opening !== this.#openings || this.#closed) return;
      const same = JSON.stringify(manifest) === JSON.stringify(this.manifest);
      if (!this.backend || !same) return await this.#takeUp(manifest);
    } catch (error) {
      if (opening === this.#openings) this.#failed(error);
      return;
    }
    this.#drawn = "";
    this.#retrying = gone;
    if (gone && this.#decoder && !this.#decoder.lost) return this.#ask(true);
    await this.#open(this.backend);
  }

  /** The canvas as a PNG. @returns {Promise<Blob>} */
  screenshot() {
    this.#draw();
    return new Promise((resolve, reject) =>
      this.#canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/png"),
    );
  }

  close() {
    this.#closed = true;
    this.#listening.abort();
    this.#observer.disconnect();
    window.clearTimeout(this.#retry);
    window.clearTimeout(this.#rest);
    cancelAnimationFrame(this.#frameRequest);
    this.#decoder?.close();
    this.#source?.close();
  }

  async #start() {
    try {
      this.#output ??= new PictureCanvas(this.#canvas);
      await this.#takeUp(await this.#readManifest());
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Open the video, or another that is there in its place. @param {Manifest} manifest */
  async #takeUp(manifest) {
    const begun = this.manifest !== null;
    const { backend, view, time } = begun ? { backend: this.backend, view: {}, time: this.#time } : this.#options;
    this.setComparison(null);
    this.#decoder?.close();
    this.#decoder = null;
    this.manifest = manifest;
    this.backends = await this.#usable(manifest);
    this.#home.fovDeg = Math.min(FOV_DEG.most, Math.max(60, manifest.trained.hfovDeg[0]));
    if (!begun) this.#view = { ...this.#home };
    this.#emit("manifest");
    this.#observer.observe(this.#canvas);
    this.#fit();
    this.setView(view ?? {});
    this.seek(time ?? 0);
    const chosen = this.backends.find((name) => name === backend) ?? this.backends[0];
    if (!chosen) throw new Unsupported(`The network ${manifest.model} needs a server: nerv360 play.`);
    await this.#open(chosen);
  }

  get #base() {
    return new URL(this.#options.src, document.baseURI);
  }

  /** @returns {Promise<Manifest>} */
  #readManifest() {
    return downloadJson(this.#base, this.#options.src);
  }

  /** Once the graphics processor is there again. */
  #drawAnew() {
    this.#output = new PictureCanvas(this.#canvas);
    this.#drawn = "";
    this.#refresh();
  }

  /** @param {Manifest} manifest @returns {Promise<BackendName[]>} the best first */
  async #usable({ server, networks }) {
    const gpu = networks && (await webGPU());
    const found = [server && "server", gpu === "hardware" && "webgpu", networks && "wasm", gpu === "software" && "webgpu"];
    return /** @type {BackendName[]} */ (found.filter(Boolean));
  }

  /** @param {BackendName} name */
  async #open(name) {
    const { manifest } = this;
    if (!manifest) return;
    const opening = ++this.#openings;
    this.#decoder?.close();
    this.#decoder = null;
    this.#busy = false; // what was asked of it is void
    this.backend = name;
    this.#cost = 0;
    this.#drawn = "";
    this.#network = null;
    this.#loads(null);
    this.#setState("loading");
    this.#emit("settings");
    const socket = () => new URL(/** @type {string} */ (manifest.server), this.#base.href.replace(/^http/, "ws"));
    try {
      const decoder =
        name === "server"
          ? await ServerBackend.open(socket(), this.#options.format ?? "auto")
          : await BrowserBackend.open(manifest, this.#base, name, this.#options.threads ?? 0, (progress) => this.#loads(progress));
      if (this.#closed || opening !== this.#openings) return decoder.close();
      this.#decoder = decoder;
    } catch (error) {
      if (opening === this.#openings) this.#failed(error);
      return;
    }
    await this.#ask(true);
  }

  /** @param {import("./runtime.js").Progress | null} progress */
  #loads(progress) {
    this.progress = progress;
    this.#emit("progress");
  }

  get #moving() {
    return this.playing || performance.now() - this.#moved < REST_MS;
  }

  /** The view to decode now, or null where it is on the canvas already. @returns {Wanted & {key: string} | null} */
  #wanted() {
    const view = this.viewport;
    const cap = this.resolution === "auto" ? Infinity : this.resolution;
    const pixels = view.width * view.height;
    const fitting = Math.min(1, cap / Math.min(view.width, view.height), Math.sqrt(MOST_PIXELS / pixels));
    const { trained, model } = /** @type {Manifest} */ (this.manifest);
    const wide = nativeView(resized(view, fitting, fitting), trained);
    const least = Math.min(1, Math.sqrt(MOST_PIXELS / (wide.width * wide.height)));
    const native = resized(wide, least, least);
    const moving = this.#moving;
    if (moving && !PANORAMAS.test(model)) this.#scale = this.#affordable(native.width * native.height);
    const scale = moving ? this.#scale : 1;
    const chosen = resized(native, scale, scale);
    const key = JSON.stringify([this.frame, chosen]);
    return key === this.#drawn && (moving || !this.rough || this.#network) ? null : { frame: this.frame, view: chosen, moving, key };
  }

  /** The scale at which a moving picture of so many pixels is there in time. A larger one has to be so with ease. */
  #affordable(/** @type {number} */ pixels) {
    const fits = (/** @type {number} */ scale) =>
      this.#cost * pixels * scale * scale <= BUDGET_MS * (scale > this.#scale ? 0.7 : 1);
    return SMALLER.find(fits) ?? SMALLER[SMALLER.length - 1];
  }

  /** Ask for the newest view, unless one is being decoded. @param {boolean} anew after an error */
  async #ask(anew = false) {
    const decoder = this.#decoder;
    if (!decoder || !this.#output || this.#busy || this.#closed || (this.state === "error" && !anew) || !this.#canvas.width) return;
    const wanted = this.#wanted();
    if (!wanted) return;
    this.#busy = true;
    this.#asked = performance.now();
    try {
      const { picture, milliseconds, rough, network } = await decoder.decode(wanted);
      if (this.#retrying) await network;
      if (decoder !== this.#decoder || !this.#output) return;
      this.#output.take(picture, wanted.view);
      if (picture instanceof ImageBitmap) picture.close();
      this.#drawn = wanted.key;
      this.rough = rough;
      this.#await(network);
      this.#drawnFrame = wanted.frame;
      this.#source?.show(wanted.frame);
      this.#count(wanted.view, milliseconds, network !== null);
      this.#retrying = false;
      this.#setState("ready");
      this.#emit("picture");
      this.#compare();
    } catch (error) {
      if (decoder === this.#decoder) this.#failed(error);
    } finally {
      if (decoder === this.#decoder) this.#busy = false;
      this.#refresh();
    }
  }

  /** Ask again once it is there. @param {Promise<unknown> | null} network */
  #await(network) {
    this.#network = network;
    const settle = (/** @type {unknown} */ error) => {
      if (network !== this.#network) return;
      this.#network = null;
      if (error) this.#failed(error);
      this.#refresh();
    };
    network?.then(() => settle(null), settle);
  }

  /** Once picture and source show the same frame: draw, and measure at rest. */
  #compare() {
    if (this.source === "failed") return this.#emit("comparison");
    const source = this.#source?.picture;
    if (!source || !this.#output || !this.#drawn || this.#source?.frame !== this.#drawnFrame) return;
    this.#output.takeSource(source);
    this.psnrDb = this.#moving || this.rough ? null : this.#output.psnrDb();
    this.#emit("comparison");
    this.#refresh();
  }

  /** @param {import("./geometry.js").Viewport} view */
  #count(view, /** @type {number} */ milliseconds, /** @type {boolean} */ preview) {
    const now = performance.now();
    this.#pictures = [...this.#pictures.filter((at) => now - at < 1000), now];
    const cost = milliseconds / (view.width * view.height);
    if (!preview) this.#cost = this.#cost ? 0.7 * this.#cost + 0.3 * cost : 1e-9; // the first picture warms up
    const { width, height } = view;
    this.statistics = { fps: this.#pictures.length, milliseconds, width, height, bytes: this.#decoder?.bytes ?? 0 };
  }

  /** Draw, advance the clock, and ask, in the next animation frame. */
  #refresh() {
    if (this.#frameRequest || this.#closed) return;
    this.#frameRequest = requestAnimationFrame((now) => {
      this.#frameRequest = 0;
      this.#tick(now);
    });
  }

  /** @param {number} now milliseconds */
  #tick(now) {
    const stalled = this.#busy && now - this.#asked > STALL_MS;
    if (this.playing && this.state === "ready" && !stalled) {
      if (this.#lastTick) this.#advance((Math.min(MOST_TICK_MS, now - this.#lastTick) / 1000) * this.speed);
      this.#lastTick = now;
    } else {
      this.#lastTick = 0;
    }
    this.#fit();
    this.#draw();
    this.#ask();
    if (this.playing && this.state === "ready") this.#refresh();
    window.clearTimeout(this.#rest);
    this.#rest = window.setTimeout(() => {
      this.#ask();
      if (this.settled && this.psnrDb === null) this.#compare(); // the last picture came while the view moved
    }, REST_MS + 20);
  }

  /** @param {number} seconds */
  #advance(seconds) {
    const last = this.duration;
    let time = this.#time + seconds;
    if (time >= last && this.loop) time %= last;
    this.#time = Math.min(time, last);
    this.#emit("time");
    if (time >= last) this.pause();
  }

  #draw() {
    this.#output?.draw(this.viewport, this.#source?.picture ? this.split : null);
  }

  /** Pixels that the canvas covers on the screen. */
  get #covered() {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    return { width: Math.round(this.#canvas.clientWidth * ratio), height: Math.round(this.#canvas.clientHeight * ratio) };
  }

  /** Whether the canvas has the pixels that it covers: once they change, not before the end of the next animation frame. */
  get #fits() {
    const { width, height } = this.#covered;
    return !width || !height || (width === this.#canvas.width && height === this.#canvas.height);
  }

  #fit() {
    if (this.#fits) return;
    Object.assign(this.#canvas, this.#covered);
    this.#draw();
  }

  /** @param {State} state @param {PlayerError | null} error */
  #setState(state, error = null) {
    const changed = state !== this.state || error?.message !== this.error?.message;
    this.state = state;
    this.error = error;
    if (changed) this.#emit("state");
  }

  /** @param {unknown} error */
  #failed(error) {
    if (this.#closed) return;
    const known = error instanceof PlayerError ? error : new BrokenFile(error instanceof Error ? error.message : String(error));
    this.#setState("error", known);
    if (known instanceof ServerGone) this.#retry = window.setTimeout(() => this.retry(), RETRY_MS);
  }

  /** @param {string} name */
  #emit(name) {
    this.dispatchEvent(new Event(name));
  }
}
