/** A player as a custom element: `<nerv360-player src="video/player.json" controls></nerv360-player>`. */

import { Announcer } from "./announcer.js";
import { Captions, captioningOf } from "./captions.js";
import { CONTROL_BAR, ControlBar } from "./control-bar.js";
import { Controls } from "./controls.js";
import { elementStyle } from "./element-style.js";
import { IdleWatch } from "./idle-watch.js";
import { placeMarkers } from "./markers.js";
import { Player } from "./player.js";

const EVENTS = {
  play: "play", pause: "pause", playing: "playing", waiting: "waiting", ended: "ended", time: "timeupdate",
  volume: "volumechange", immersive: "immersivechange", manifest: "loadedmetadata", view: "viewchange",
}; // of a Player, and what the element calls them
const WARNING_MS = 6000;
const ANGLES = { yaw: "yawDeg", pitch: "pitchDeg", fov: "fovDeg" };

const CONTENT = `
<div id="stage" class="empty">
  <canvas id="picture" tabindex="0" role="application" aria-label="360-degree video. Drag, or use the arrow keys, to look around."
    aria-describedby="keys"></canvas>
  <p id="keys" class="unseen">Arrow keys turn, plus and minus zoom, space plays and pauses, comma and full stop step by a
    frame, Home looks ahead again, P shows a little planet, M mutes, C chooses captions, F is full screen.</p>
  <p id="said" class="unseen" role="status" aria-live="polite"></p>
  <img id="poster" alt="" hidden>
  <slot></slot>
  <slot name="marker"></slot>
  <div id="captions"></div>
  <div id="bars"><slot name="bars"></slot>${CONTROL_BAR}<slot name="panel"></slot></div>
  <svg id="buffering" viewBox="0 0 64 64" aria-hidden="true"><circle cx="32" cy="32" r="26"/><circle class="arc" cx="32" cy="32" r="26" pathLength="1"/></svg>
  <slot name="screen"><div id="message" class="message" role="alert" hidden><p></p><button type="button">Try again</button></div></slot>
</div>`;

/**
 * Attributes: `src`, address of a player.json; `controls`, `autoplay`, `loop`, `muted`; `poster`, address of a picture that is shown
 * before the first, instead of that of the player.json; `yaw`, `pitch`, `fov`, degrees to look at; `autorotate`, degrees per
 * second; `projection`: "perspective" or "little-planet"; `backend`, `format`, `threads`, as the options of a Player, read
 * with `src`; `whole-page`: it takes the keys of the document and always the wheel and all swipes, else only those with the
 * focus.
 *
 * Captions: `<track src srclang label default>` inside, as in a `<video>`; a player.json may name more.
 *
 * Slots: none, over the picture; `marker`, elements with `data-yaw` and `data-pitch` that stay where they are in the video;
 * `bars` and `panel`, which hide while it plays, unless a panel is open; `buttons`, of the bar; `screen`, instead of its own
 * message where something fails.
 *
 * Events: "play", "pause", "playing", "waiting", "ended", "timeupdate", "volumechange", "loadedmetadata", "viewchange",
 * "immersivechange" (in a headset, or no longer), "error". Once it is removed, all is freed.
 */
export class Nerv360PlayerElement extends HTMLElement {
  static observedAttributes = ["src", "loop", "poster", "autorotate", "projection", ...Object.keys(ANGLES)];

  /** While it has a `src` and is in a document. @type {Player | null} */ player = null;
  /** What the user's hands do. @type {Controls | null} */ gestures = null;
  #root = this.attachShadow({ mode: "open", delegatesFocus: true });
  /** @type {Captions | null} */ captions = null;
  /** @type {ControlBar | null} */ #bar = null;
  #listening = new AbortController();
  #warning = 0; // timer, until it is no longer shown
  /** @type {Announcer | null} */ #announcer = null;
  #idleWatch = new IdleWatch(() => this.#inUse, (idle) => this.#stage.classList.toggle("idle", idle));

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [elementStyle()];
    this.#root.innerHTML = CONTENT;
    for (const name of ["pointermove", "pointerdown", "focusin"]) this.addEventListener(name, () => this.#idleWatch.wake());
    this.#find("message").querySelector("button")?.addEventListener("click", () => this.player?.retry());
    this.#root.querySelector("slot[name=marker]")?.addEventListener("slotchange", () => this.#placeMarkers());
  }

  connectedCallback() {
    this.#takeUp(["src", "poster", "controls", "autoplay", "loop", ...Object.keys(ANGLES)]);
    this.#open();
    this.#takeUp(["volume", "muted", "currentTime"]);
  }

  disconnectedCallback() {
    this.#close();
  }

  /** @param {string} name @param {string | null} before @param {string | null} value */
  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    if (name === "src") {
      this.#close();
      this.#open();
    } else if (name === "poster") this.#showPoster();
    else if (name === "loop") this.player?.setLoop(this.loop);
    else if (name === "projection") this.#showProjection();
    else if (name === "autorotate") this.gestures?.autorotate(this.#number(name) ?? 0);
    else this.gestures?.turn(this.#angles([name]));
  }

  get src() {
    return this.getAttribute("src") ?? "";
  }
  set src(address) {
    this.setAttribute("src", address);
  }

  get poster() {
    return this.getAttribute("poster") ?? "";
  }
  set poster(address) {
    this.setAttribute("poster", address);
  }

  get controls() {
    return this.hasAttribute("controls");
  }
  set controls(shown) {
    this.toggleAttribute("controls", shown);
  }

  get autoplay() {
    return this.hasAttribute("autoplay");
  }
  set autoplay(wished) {
    this.toggleAttribute("autoplay", wished);
  }

  get loop() {
    return this.hasAttribute("loop");
  }
  set loop(wished) {
    this.toggleAttribute("loop", wished);
  }

  /** Degrees; of the present view, where the attribute tells the last one that was asked for. */
  get yaw() {
    return this.player?.view.yawDeg ?? this.#number("yaw") ?? 0;
  }
  set yaw(degrees) {
    this.setAttribute("yaw", String(degrees));
  }

  get pitch() {
    return this.player?.view.pitchDeg ?? this.#number("pitch") ?? 0;
  }
  set pitch(degrees) {
    this.setAttribute("pitch", String(degrees));
  }

  /** Degrees, of the longer side. */
  get fov() {
    return this.player?.view.fovDeg ?? this.#number("fov") ?? NaN;
  }
  set fov(degrees) {
    this.setAttribute("fov", String(degrees));
  }

  /** 0..1. */
  get volume() {
    return this.player?.volume ?? 1;
  }
  set volume(volume) {
    this.player?.setVolume(volume);
  }

  get muted() {
    return this.player?.muted ?? this.hasAttribute("muted");
  }
  set muted(muted) {
    this.player?.setVolume(this.volume, muted);
  }

  /** Seconds. */
  get currentTime() {
    return this.player?.time ?? 0;
  }
  set currentTime(seconds) {
    this.player?.seek(seconds);
  }

  /** Seconds; NaN before the video is known. */
  get duration() {
    return this.player?.manifest ? this.player.duration : NaN;
  }

  get paused() {
    return !this.player?.playing;
  }

  get error() {
    return this.player?.error ?? null;
  }

  /**
   * Play. Resolves once pictures come; rejects with what failed, or with an AbortError where it is paused or removed before.
   * @returns {Promise<void>}
   */
  play() {
    const { player } = this;
    if (!player) return Promise.reject(new DOMException("There is nothing to play: src is missing.", "InvalidStateError"));
    player.play();
    return new Promise((resolve, reject) => {
      const settled = new AbortController();
      const check = () => {
        if (!player.playing) reject(new DOMException("It was paused, or removed.", "AbortError"));
        else if (player.error && player.error.kind !== "gone") reject(player.error); // a server may come back
        else if (player.state === "ready" && !player.waiting) resolve();
        else return;
        settled.abort();
      };
      for (const name of ["playing", "pause", "state"]) player.addEventListener(name, check, settled);
      check();
    });
  }

  pause() {
    this.player?.pause();
  }

  toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.requestFullscreen?.().catch(() => this.warn("Full screen is not allowed here"));
  }

  /** Show it in a headset, or no longer. Called from a click. */
  async toggleImmersive() {
    this.gestures?.autorotate(0);
    await this.player?.toggleImmersive().catch(({ name, message }) =>
      this.warn(name === "NotAllowedError" || name === "SecurityError" ? "The headset is not allowed here" : `The headset cannot be used: ${message}`));
  }

  /** Tell it to those who do not see the picture. @param {string} text */
  announce(text) {
    this.#announcer?.say(text);
  }

  /** Tell it to all. @param {string} text */
  warn(text) {
    const { classList } = this.#find("said");
    this.announce(text);
    classList.add("warning");
    window.clearTimeout(this.#warning);
    this.#warning = window.setTimeout(() => classList.remove("warning"), WARNING_MS);
  }

  /** Properties that were set before this module came: they hide those of the class. @param {string[]} names */
  #takeUp(names) {
    const properties = /** @type {any} */ (this);
    for (const name of names.filter((each) => Object.hasOwn(this, each))) {
      const value = properties[name];
      delete properties[name];
      properties[name] = value;
    }
  }

  #open() {
    if (this.player || !this.isConnected || !this.src) return;
    const canvas = /** @type {HTMLCanvasElement} */ (this.#find("picture"));
    const wholePage = this.hasAttribute("whole-page");
    const guard = wholePage ? "always" : "focused";
    const keyboard = wholePage ? document : this;
    const toggleFullscreen = () => this.toggleFullscreen();
    this.player = new Player(canvas, {
      src: this.src, loop: this.loop, view: this.#angles(Object.keys(ANGLES)), threads: this.#number("threads"),
      backend: /** @type {any} */ (this.getAttribute("backend") ?? "auto"),
      format: /** @type {any} */ (this.getAttribute("format") ?? "auto"), muted: this.hasAttribute("muted"),
    });
    this.captions = new Captions(this.#find("captions"), this.player);
    const { captions } = this;
    this.gestures = new Controls(this.player, canvas, {
      keyboard, wheel: guard, touch: guard, fullscreen: toggleFullscreen, captions: () => captions.next(),
      warn: (text) => this.warn(text),
    });
    this.#bar = new ControlBar(this.#root, this.player, this.gestures, captions, toggleFullscreen, () => this.toggleImmersive());
    this.#listening = new AbortController();
    keyboard.addEventListener("keydown", () => this.#idleWatch.wake(), { signal: this.#listening.signal });
    this.#announcer = new Announcer(this.#find("said"), this.player);
    captions.addEventListener("change", () => this.announce(captions.shown ? `Captions: ${captions.shown.label}` : "No captions"));
    captions.add([.../** @type {NodeListOf<HTMLTrackElement>} */ (this.querySelectorAll(":scope > track"))].map(captioningOf));
    this.#follow(this.player);
    this.#showPoster();
    this.#showState();
    this.#showProjection();
    this.gestures.autorotate(this.#number("autorotate") ?? 0);
    if (this.autoplay) this.play().catch(() => {}); // told by events
  }

  #close() {
    this.player?.pause(); // who waits for it to play waits no longer
    this.#listening.abort();
    this.#bar?.close();
    this.gestures?.close();
    this.player?.close();
    this.#idleWatch.stop();
    this.player = this.gestures = this.captions = this.#bar = this.#announcer = null;
    this.#stage.className = "empty";
  }

  /** Show and tell what a player does. @param {Player} player */
  #follow(player) {
    for (const [name, type] of Object.entries(EVENTS)) player.addEventListener(name, () => this.dispatchEvent(new Event(type)));
    player.addEventListener("manifest", () => {
      const base = new URL(this.src, document.baseURI);
      const more = player.manifest?.captions ?? [];
      this.captions?.add(more.map((each) => ({ ...each, src: new URL(each.src, base).href })));
      this.#showPoster();
    }, { once: true });
    player.addEventListener("state", () => {
      this.#showState();
      if (player.error) this.dispatchEvent(new Event("error"));
    });
    for (const name of ["waiting", "playing", "play", "pause"]) player.addEventListener(name, () => this.#showState());
    for (const name of ["play", "pause"]) player.addEventListener(name, () => this.#idleWatch.wake());
    player.addEventListener("picture", () => {
      this.#stage.classList.remove("empty");
      this.#find("poster").hidden = true;
    }, { once: true });
    player.addEventListener("view", () => this.#placeMarkers());
  }

  get #stage() {
    return this.#find("stage");
  }

  /** @param {string} id */
  #find(id) {
    return /** @type {HTMLElement} */ (this.#root.getElementById(id));
  }

  /** @param {string} attribute */
  #number(attribute) {
    const value = Number.parseFloat(this.getAttribute(attribute) ?? "");
    return Number.isFinite(value) ? value : undefined;
  }

  /** Those that are given. @param {string[]} names @returns {Partial<import("./player.js").View>} */
  #angles(names) {
    const given = names.filter((name) => this.#number(name) !== undefined);
    return Object.fromEntries(given.map((name) => [ANGLES[/** @type {keyof typeof ANGLES} */ (name)], this.#number(name)]));
  }

  #showPoster() {
    const image = /** @type {HTMLImageElement} */ (this.#find("poster"));
    const { poster = null } = this.player?.manifest ?? {};
    const address = this.poster || (poster && new URL(poster, new URL(this.src, document.baseURI)).href);
    image.hidden = !address || !this.#stage.classList.contains("empty");
    if (address && !image.hidden) image.src = address;
  }

  #showProjection() {
    this.gestures?.chooseProjection(this.getAttribute("projection") === "little-planet" ? "little-planet" : "perspective");
  }

  #showState() {
    const { player } = this;
    if (!player) return;
    const { classList } = this.#stage;
    classList.toggle("playing", player.playing);
    classList.toggle("waiting", !player.error && (player.state === "loading" || player.waiting));
    classList.toggle("failed", player.error !== null);
    const message = this.#find("message");
    message.hidden = player.error === null;
    if (player.error) /** @type {HTMLElement} */ (message.querySelector("p")).textContent = player.error.message;
  }

  #placeMarkers() {
    if (this.player) placeMarkers(this, this.player);
  }

  /** Whether the bars have to stay: it does not play, they are pointed at, focused by the keyboard, or with an open panel. */
  get #inUse() {
    if (!this.player?.playing) return true;
    const hovered = matchMedia("(hover: hover)").matches && this.#find("bars").matches(":hover"); // a touch leaves :hover behind
    const focused = this.#root.querySelector("footer :focus-visible") ?? this.querySelector(":focus-visible");
    return hovered || focused !== null || this.querySelector(":scope > [slot=panel]:not([hidden])") !== null;
  }
}

customElements.define("nerv360-player", Nerv360PlayerElement);
