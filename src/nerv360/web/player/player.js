/**
 * Plays a .nerv360 video on a canvas: `new Player(canvas, {src: "player.json"})`.
 *
 *     view, time ─ newest view ─ backend (browser or server) ─ picture ─ canvas
 *
 * One view is asked for at a time, always the newest; what the user has moved past is never decoded. Between two pictures
 * the canvas turns the last one. While the view moves, pictures are as small as the machine needs; at rest they are sharp.
 */

import { resolutionsOf } from "./adaptive-resolution.js";
import { PictureCanvas } from "./canvas.js";
import { PlaybackClock } from "./clock.js";
import { Comparison } from "./comparison.js";
import { fovAcross, project } from "./geometry.js";
import { Session } from "./session.js";

/**
 * @typedef {{yawDeg: number, pitchDeg: number, rollDeg: number, fovDeg: number}} View degrees; the field of view is that of
 *   the longer side of the canvas
 * @typedef {{picture: import("./canvas.js").Drawable, right: import("./canvas.js").Drawable | null, milliseconds: number,
 *   rough: boolean, network: Promise<unknown> | null, facts: Record<string, string>}} Decoded right: of that eye, where asked for;
 *   rough: at rest the picture would be better; network: of a preview, resolves once the network is loaded; facts: of the
 *   frame, for people
 * @typedef {{frame: number, view: import("./geometry.js").Viewport, moving: boolean, eyes: number,
 *   planet?: import("./little-planet.js").LittlePlanet | null}} ViewRequest eyes: 1 is the left one; planet: that it is a part of
 * @typedef {"server" | "webgl" | "webgpu" | "wasm"} BackendName who decodes: the server, or this browser
 * @typedef {"jpeg" | "h264"} Format in which a server sends pictures while something moves
 * @typedef {"loading" | "ready" | "error"} State
 * @typedef {{src: string, backend?: BackendName | "auto", resolution?: number | "auto", threads?: number,
 *   format?: Format | "auto", view?: Partial<View>, time?: number, loop?: boolean, volume?: number, muted?: boolean}} Options
 *   threads: of WebAssembly, 0 for what the machine has; format: "auto" is H.264 from another machine, where it can be decoded
 * @typedef {{title: string, checksum: number, video: string, bytes: number, width: number, height: number, frames: number, eyes: number,
 *   frameRate: number, frameStarts: number[] | null, model: string, trained: {width: number, height: number, hfovDeg: number[]}, rollDeg: number[],
 *   scalable: boolean, decoders: ("motion" | "grid" | "onnx")[] | null, networks: (string | null)[],
 *   server: string | null, sound: {codec: string, sampleRate: number, channels: number} | null,
 *   source: {video: string, times: string} | null, poster?: string | null, captions?: import("./captions.js").Captioning[]}} Manifest
 *   scalable: a picture of fewer pixels is decoded sooner; decoders: of each segment; null: browsers cannot decode the
 *   video; networks: of each segment, null where it has none; empty where none are there
 * @typedef {{fps: number, milliseconds: number, width: number, height: number, bytes: number,
 *   facts: Record<string, string>}} Statistics
 *   fps: pictures drawn in the last second; milliseconds: of decoding the last; bytes: received so far; facts: of the frame
 */

const REST_MS = 180; // without a move, after which the view is at rest
const FOV_DEG = { min: 25, max: 120 };

/** @typedef {"perspective" | "little-planet"} Projection */

/**
 * Events: "manifest"; "state"; "view"; "time"; "play"; "pause"; "ended"; "picture" (with statistics in `player.statistics`);
 * "waiting" (while playing, time stands until a picture comes); "playing" (it goes on); "rest" (the view and the time have
 * not moved for a while); "settings" (speed, loop, backend, resolution or projection changed); "volume"; "comparison" (with
 * `player.psnrDb`); "immersive" (in a headset, or no longer); "progress" (of loading the decoder, in `player.progress`);
 * "buffered" (more of the video is there).
 */
export class Player extends EventTarget {
  /** @type {Statistics} */ statistics = { fps: 0, milliseconds: 0, width: 0, height: 0, bytes: 0, facts: {} };
  /** @type {number | "auto"} */ resolution = "auto";
  waiting = false; // for a picture: it plays, but time stands

  /** @type {HTMLCanvasElement} */ #canvas;
  /** @type {PictureCanvas | null} */ #output = null; // while there is WebGL
  /** @type {Session} */ #session;
  #clock = new PlaybackClock();
  #comparison = new Comparison(() => this.#compare());
  /** Of another projection. @type {typeof import("./little-planet.js") | null} */ #planets = null;
  /** @type {import("./sound/sound.js").Sound | null} */ #sound = null; // while the video has any
  #volume = 1;
  #muted = false;
  #home = { yawDeg: 0, pitchDeg: 0, rollDeg: 0, fovDeg: 78.1 };
  #view = { ...this.#home };
  /** @type {Partial<View>} */ #initialView; // as far as it is not that at home
  /** @type {import("./immersive.js").Immersive | null} */ #immersive = null;
  /** @type {import("./immersive.js").Lens | null} */ #lens = null; // of a headset
  #movedAt = -Infinity; // milliseconds
  #drawnFrame = 0;
  /** @type {number[]} */ #pictureTimes = []; // milliseconds, of the last second
  #frameRequest = 0;
  #restTimer = 0;
  #closed = false;
  #listening = new AbortController();
  #observer = new ResizeObserver(() => {
    this.#fit();
    this.#refresh();
  });

  /** @param {HTMLCanvasElement} canvas @param {Options} options */
  constructor(canvas, options) {
    super();
    this.#canvas = canvas;
    const given = Object.entries(options.view ?? {}).filter(([, angle]) => Number.isFinite(angle));
    this.#initialView = Object.fromEntries(given);
    this.#clock.loop = options.loop ?? true;
    this.#clock.seek(options.time ?? 0);
    this.resolution = options.resolution ?? "auto";
    this.#volume = clamp(options.volume ?? 1, 0, 1);
    this.#muted = options.muted ?? false;
    this.#session = new Session(options, {
      prepare: () => {
        this.#output ??= PictureCanvas.open(canvas);
        this.#applyProjection();
      },
      opened: (manifest, first) => this.#opened(manifest, first),
      wanted: () => this.#wanted(),
      show: (decoded, request) => this.#show(decoded, request),
      shown: (decoded, request) => this.#shown(decoded, request),
      emit: (event) => {
        if (event === "state" && this.state === "loading") this.#output?.planet?.restart();
        this.#emit(event);
        if (event === "state") this.#updateWaiting();
      },
      refresh: () => this.#refresh(),
    });
    const { signal } = this.#listening;
    const lost = (/** @type {Event} */ event) => {
      event.preventDefault(); // so that it comes back
      this.#output = null;
    };
    canvas.addEventListener("webglcontextlost", lost, { signal });
    canvas.addEventListener("webglcontextrestored", () => this.#restoreCanvas(), { signal });
    queueMicrotask(() => this.#session.start()); // once the caller listens
  }

  /** What the video is, once that is known. @returns {Manifest | null} */
  get manifest() {
    return this.#session.manifest;
  }

  /** @returns {State} */
  get state() {
    return this.#session.state;
  }

  /** @returns {import("./errors.js").PlayerError | null} */
  get error() {
    return this.#session.error;
  }

  /** Of loading the decoder, while that lasts. @returns {import("./onnx/runtime.js").Progress | null} */
  get progress() {
    return this.#session.progress;
  }

  /** What can be played without the server, in seconds; unknown where that decodes. */
  get buffered() {
    return this.#session.buffered.map(([first, end]) => ({ start: this.#clock.startOf(first), end: this.#clock.startOf(end) }));
  }

  /** @returns {BackendName | null} */
  get backend() {
    return this.#session.backend;
  }

  /** What can decode this video here; the first is taken unless another is asked for. @returns {BackendName[]} */
  get backends() {
    return this.#session.backends;
  }

  /** What `setResolution` takes for the present view, besides "auto". */
  get resolutions() {
    const { manifest, drawsWindows } = this.#session;
    return manifest && !drawsWindows ? resolutionsOf(this.viewport, manifest) : [];
  }

  /** How the present backend decodes, for people. */
  get description() {
    return this.#session.description;
  }

  /** Why WebGL does not decode, where that has failed, for people. */
  get fallback() {
    return this.#session.fallback;
  }

  /** Whether the picture gets better at rest. */
  get rough() {
    return this.#session.rough;
  }

  get playing() {
    return this.#clock.playing;
  }

  get speed() {
    return this.#clock.speed;
  }

  get loop() {
    return this.#clock.loop;
  }

  /** Seconds. */
  get time() {
    return this.#clock.time;
  }

  /** Seconds. */
  get duration() {
    return this.#clock.duration;
  }

  get frame() {
    return this.#clock.frame;
  }

  /** Of the sound, 0..1. */
  get volume() {
    return this.#volume;
  }

  get muted() {
    return this.#muted;
  }

  /** What is heard now, in seconds of the video; null: nothing. */
  get soundTime() {
    return this.#sound?.time ?? null;
  }

  /** What the sound is, and why it is not heard, for people; empty where the video has none. */
  get soundDescription() {
    return this.#sound?.description ?? "";
  }

  /** @returns {View} */
  get view() {
    return { ...this.#view };
  }

  /** The view on the canvas, in its pixels; in a headset, that of the head. @returns {import("./geometry.js").Viewport} */
  get viewport() {
    const { width, height } = this.#canvas;
    const { yawDeg, pitchDeg, rollDeg, fovDeg } = this.#view;
    if (this.#lens) return { yawDeg, pitchDeg, rollDeg, ...this.#lens };
    const wide = width >= height;
    const hfovDeg = wide ? fovDeg : fovAcross(fovDeg, width / height);
    const vfovDeg = wide ? fovAcross(fovDeg, height / width) : fovDeg;
    return { yawDeg, pitchDeg, rollDeg, hfovDeg, vfovDeg, width, height };
  }

  /** Whether the canvas shows the present view and time, as sharp as it gets. */
  get settled() {
    return this.#output !== null && this.#fits && !this.#moving && this.#session.settled;
  }

  /** What is compared with, where something is. @returns {"loading" | "shown" | "failed" | null} */
  get source() {
    return this.#comparison.state;
  }

  /** Share of the width, right of which the source is shown. */
  get split() {
    return this.#comparison.split;
  }

  /** Of the picture at rest, against the source. */
  get psnrDb() {
    return this.#comparison.psnrDb;
  }

  /** Whether it is shown in a headset. */
  get immersive() {
    return this.#immersive !== null;
  }

  /** @returns {Projection} */
  get projection() {
    return this.#planets ? "little-planet" : "perspective";
  }

  /** @param {Partial<View>} change */
  setView(change) {
    const view = { ...this.#view, ...change };
    if (!Object.values(view).every(Number.isFinite)) return;
    if (!this.manifest) Object.assign(this.#initialView, change);
    const wrap = (/** @type {number} */ angle) => ((((angle + 180) % 360) + 360) % 360) - 180;
    this.#view = {
      yawDeg: wrap(view.yawDeg),
      pitchDeg: clamp(view.pitchDeg, -90, 90),
      rollDeg: wrap(view.rollDeg),
      fovDeg: clamp(view.fovDeg, FOV_DEG.min, FOV_DEG.max),
    };
    this.#movedAt = performance.now();
    this.#emit("view");
    this.#refresh();
  }

  /**
   * Where a direction is seen: CSS pixels from the canvas's top left corner, which may lie outside; null behind the viewer.
   * @param {number} yawDeg @param {number} pitchDeg
   */
  project(yawDeg, pitchDeg) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const place = this.#planets?.projectOnPlanet ?? project;
    return place({ ...this.viewport, width, height }, yawDeg, pitchDeg);
  }

  resetView() {
    this.setView(this.#home);
  }

  play() {
    if (this.playing) return;
    this.#clock.play();
    this.#sound?.wake();
    this.#emit("play");
    this.#updateWaiting();
    this.#refresh();
  }

  pause() {
    if (!this.playing) return;
    this.#clock.playing = false;
    this.waiting = false;
    this.#hear();
    this.#emit("pause");
    this.#refresh();
  }

  /** Play or pause. */
  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** @param {number} seconds */
  seek(seconds) {
    if (!Number.isFinite(seconds)) return;
    this.#clock.seek(seconds);
    this.#emit("time");
    this.#refresh();
  }

  /** Go to a neighbouring frame. @param {number} frames */
  step(frames) {
    if (!this.manifest) return;
    this.seek(this.#clock.startOf(clamp(this.frame + frames, 0, this.manifest.frames - 1)));
  }

  /** @param {number} speed 1 is that of the video */
  setSpeed(speed) {
    this.#clock.speed = speed;
    this.#emit("settings");
  }

  /** @param {boolean} loop */
  setLoop(loop) {
    this.#clock.loop = loop;
    this.#emit("settings");
  }

  /** Change the volume, and be heard or not. @param {number} volume 0..1 @param {boolean} muted */
  setVolume(volume, muted = this.#muted) {
    if (!Number.isFinite(volume)) return;
    this.#volume = clamp(volume, 0, 1);
    this.#muted = muted;
    this.#sound?.setVolume(this.#volume, muted);
    if (this.playing) this.#sound?.wake();
    this.#hear();
    this.#emit("volume");
  }

  /** @param {number | "auto"} resolution pixels of the shorter side, at most */
  setResolution(resolution) {
    this.resolution = resolution;
    this.#emit("settings");
    this.#refresh();
  }

  /** Show the source, where there is one, right of a part of the width; null: nowhere. @param {number | null} split */
  setComparison(split) {
    const source = this.manifest?.source;
    if (!source || this.#planets) return;
    if (split === null) this.#comparison.close();
    else this.#comparison.open(split, source, this.#session.base, this.#drawnFrame);
    this.#emit("comparison");
    this.#refresh();
  }

  /** Show the video otherwise. The little planet is not compared with the source. @param {Projection} name */
  async setProjection(name) {
    const planets = name === "little-planet" ? await import("./little-planet.js") : null;
    if (planets === this.#planets || this.#closed) return;
    this.setComparison(null);
    this.#planets = planets;
    this.#applyProjection();
    this.#session.invalidate();
    this.setView({});
    this.#emit("settings");
  }

  /** Show it in a headset, or no longer. Called from a click. Rejects where the user, the browser or the device refuses. */
  async toggleImmersive() {
    if (this.#immersive) return this.#immersive.end();
    const { Immersive } = await import("./immersive.js");
    const gl = this.#output?.gl;
    if (!gl || this.#immersive) return;
    const session = await Immersive.begin(gl, {
      yawDeg: () => this.#view.yawDeg,
      look: (angles, lens) => {
        this.#lens = lens;
        this.setView(angles);
      },
      tick: (now) => this.#tick(now),
      draw: (framebuffer, place, toRays, eye) => this.#output?.drawInto(framebuffer, place, toRays, eye),
      select: () => this.toggle(),
      ended: () => this.#leaveImmersive(),
    });
    if (this.#closed) return session.end();
    this.#immersive = session;
    await this.setProjection("perspective");
    this.#emit("immersive");
  }

  #leaveImmersive() {
    this.#immersive = this.#lens = null;
    this.#emit("immersive");
    this.setView({ rollDeg: 0 });
  }

  /** @param {BackendName} name */
  async setBackend(name) {
    await this.#session.setBackend(name);
  }

  /** Try again after an error: with what there is, or from the beginning where the video is another one by now. */
  async retry() {
    await this.#session.retry();
  }

  /** Draw now: another canvas can take the picture, as long as it does so in the same task. */
  draw() {
    this.#draw(true);
  }

  /** The canvas as a PNG. @returns {Promise<Blob>} */
  screenshot() {
    this.draw();
    return new Promise((resolve, reject) =>
      this.#canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/png"),
    );
  }

  /** End, and free all memory. Another player may take the canvas. */
  close() {
    this.#closed = true;
    this.#listening.abort();
    this.#observer.disconnect();
    window.clearTimeout(this.#restTimer);
    cancelAnimationFrame(this.#frameRequest);
    this.#immersive?.end();
    this.#session.close();
    this.#sound?.close();
    this.#comparison.close();
    this.#output?.close();
    this.#output = null;
  }

  /** @param {Manifest} manifest @param {boolean} first */
  #opened(manifest, first) {
    this.#comparison.close();
    this.#emit("comparison");
    this.#home.fovDeg = clamp(manifest.trained.hfovDeg[0], 60, FOV_DEG.max);
    if (first) this.#view = { ...this.#home, ...this.#initialView };
    this.#clock.setVideo(manifest);
    this.#openSound(manifest).catch(() => {}); // the picture plays without
    this.#emit("manifest");
    this.#observer.observe(this.#canvas);
    this.#fit();
    this.setView({});
    this.seek(this.time);
  }

  /** Draw what there is in the present projection. */
  #applyProjection() {
    if (this.#output) this.#output.planet = this.#planets && new this.#planets.LittlePlanet(this.#output);
  }

  /** Once the graphics processor is there again. */
  #restoreCanvas() {
    this.#output = new PictureCanvas(this.#canvas);
    this.#applyProjection();
    this.#session.invalidate();
    this.#refresh();
  }

  get #moving() {
    return this.playing || performance.now() - this.#movedAt < REST_MS;
  }

  /** The view to decode now. @returns {ViewRequest | null} */
  #wanted() {
    const { manifest, resolution, drawsWindows } = this.#session;
    if (!manifest || !this.#output || !this.#canvas.width) return null;
    const moving = this.#moving;
    const sized = (/** @type {import("./geometry.js").Viewport} */ view) =>
      drawsWindows ? view : resolution.viewToDecode(view, manifest, this.resolution, moving);
    const { planet } = this.#output;
    const eyes = this.#immersive ? manifest.eyes : 1;
    return planet?.wanted(this.frame, sized) ?? { frame: this.frame, view: sized(this.viewport), moving, eyes, planet };
  }

  /** @param {Decoded} decoded @param {ViewRequest} request */
  #show({ picture, right, rough }, { view, planet }) {
    const shown = this.#output?.planet === planet; // else it was asked for before the projection changed
    if (shown) this.#output?.upload(picture, view, right);
    if (shown && !rough) planet?.take();
    for (const each of [picture, right]) if (each instanceof ImageBitmap) each.close();
    return shown;
  }

  /** @param {Decoded} decoded @param {ViewRequest} request */
  #shown({ milliseconds, facts }, { frame, view }) {
    if (this.#output?.planet?.whole === false) return;
    const now = performance.now();
    this.#pictureTimes = [...this.#pictureTimes.filter((at) => now - at < 1000), now];
    const { width, height } = view;
    this.statistics = { fps: this.#pictureTimes.length, milliseconds, width, height, bytes: this.#session.bytes, facts };
    this.#drawnFrame = frame;
    this.#comparison.show(frame);
    this.#emit("picture");
    this.#compare();
  }

  /** Once picture and source show the same frame: draw, and measure at rest. */
  #compare() {
    const { hasPicture, rough } = this.#session;
    if (!hasPicture || !this.#comparison.update(this.#output, this.#drawnFrame, !this.#moving && !rough)) return;
    this.#emit("comparison");
    this.#refresh();
  }

  /** Draw, advance the clock, and ask, in the next animation frame. */
  #refresh() {
    if (this.#frameRequest || this.#closed || this.#immersive) return; // a headset has its own animation frames
    this.#frameRequest = requestAnimationFrame((now) => {
      this.#frameRequest = 0;
      this.#tick(now);
    });
  }

  /** @param {number} now milliseconds */
  #tick(now) {
    this.#updateWaiting();
    if (this.#clock.tick(now, !this.playing || this.waiting)) {
      this.#emit("time");
      if (this.#clock.atEnd) this.#end();
    }
    this.#hear();
    this.#fit();
    if (!this.#immersive) this.#draw();
    this.#session.request();
    if (this.playing && this.state === "ready") this.#refresh();
    window.clearTimeout(this.#restTimer);
    this.#restTimer = window.setTimeout(() => this.#rest(), REST_MS + 20);
  }

  #end() {
    this.pause();
    this.#emit("ended");
  }

  /** @param {Manifest} manifest */
  async #openSound({ sound, video }) {
    this.#sound?.close();
    this.#sound = null;
    if (!sound) return;
    const { Sound } = await import("./sound/sound.js"); // sites without sound have none of it
    const { manifest } = this;
    if (this.#closed || manifest?.sound !== sound) return;
    this.#sound = new Sound(new URL(video, this.#session.base).href, sound, (frame) => this.#clock.startOf(frame));
    this.#sound.setVolume(this.#volume, this.#muted);
    if (this.playing) this.#sound.wake();
  }

  /** The sound follows the clock. */
  #hear() {
    this.#sound?.turn(this.#view.yawDeg);
    this.#sound?.follow(this.time, this.playing && !this.waiting, this.speed);
  }

  #updateWaiting() {
    const waiting = this.playing && (this.state !== "ready" || this.#session.stalled(performance.now()));
    if (waiting === this.waiting) return;
    this.waiting = waiting;
    this.#emit(waiting ? "waiting" : "playing");
  }

  /** The view may have come to rest: ask for it sharp, and compare it. */
  #rest() {
    this.#session.request();
    if (!this.#moving) this.#emit("rest");
    if (this.settled && this.psnrDb === null) this.#compare(); // the last picture came while the view moved
  }

  #draw(again = false) {
    this.#output?.draw(this.viewport, this.#comparison.shownSplit, again);
  }

  /** Pixels that the canvas covers on the screen. */
  get #covered() {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    return { width: Math.round(this.#canvas.clientWidth * ratio), height: Math.round(this.#canvas.clientHeight * ratio) };
  }

  /** Whether the canvas has the pixels that it covers: once they change, not before the end of the next animation frame. */
  get #fits() {
    if (this.#immersive) return true; // which has pixels of its own
    const { width, height } = this.#covered;
    return !width || !height || (width === this.#canvas.width && height === this.#canvas.height);
  }

  #fit() {
    if (this.#fits) return;
    Object.assign(this.#canvas, this.#covered);
    this.#emit("view"); // its field of view across the shorter side
    this.#draw();
  }

  /** @param {string} name */
  #emit(name) {
    this.dispatchEvent(new Event(name));
  }
}

const clamp = (/** @type {number} */ value, /** @type {number} */ min, /** @type {number} */ max) => Math.min(max, Math.max(min, value));
