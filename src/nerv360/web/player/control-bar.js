/** The bar of `<nerv360-player controls>`: play, timeline, time, sound, zoom, a picture, full screen. */

export const CONTROL_BAR = `
<footer class="bar" part="bar" aria-label="Playback">
  <button id="play" type="button" aria-label="Play" title="Play (space)">
    <svg viewBox="0 0 24 24" aria-hidden="true"><path class="is-paused" d="M8 5v14l11-7z"/><path class="is-playing" d="M7 5h4v14H7zM13 5h4v14h-4z"/></svg>
  </button>
  <div id="timeline">
    <input id="seek" type="range" min="0" max="1" step="any" value="0" aria-label="Time">
    <output id="pointed" aria-hidden="true" hidden></output>
  </div>
  <span id="time" aria-hidden="true">0:00.0</span>
  <button id="mute" type="button" aria-label="Mute" title="Mute (m)" hidden>
    <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 9v6h4l5 5V4L8 9z"/><path class="is-heard" d="M15 8.500a5 5 0 0 1 0 7l1.400 1.400a7 7 0 0 0 0-9.800z"/><path class="is-muted" d="M15 9.400l1.400-1.400 6 6-1.400 1.400zM21 8l1.400 1.400-6 6-1.400-1.400z"/></svg>
  </button>
  <input id="volume" class="wide" type="range" min="0" max="1" step="0.05" aria-label="Volume" hidden>
  <button id="zoomout" class="wide" type="button" aria-label="Zoom out" title="Zoom out (-)"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 11h14v2H5z"/></svg></button>
  <button id="zoomin" class="wide" type="button" aria-label="Zoom in" title="Zoom in (+)"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 11h6V5h2v6h6v2h-6v6h-2v-6H5z"/></svg></button>
  <button id="save" class="wide" type="button" aria-label="Save the picture" title="Save the picture"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M9 4l-1.500 2H4v13h16V6h-3.500L15 4zM12 8.500a4 4 0 1 1 0 8 4 4 0 0 1 0-8z"/></svg></button>
  <button id="choose-captions" type="button" aria-label="Captions" title="Captions (c)" aria-pressed="false" hidden><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 5h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2zm1 8v2h8v-2zm10 0v2h4v-2z"/></svg></button>
  <slot name="buttons"></slot>
  <button id="immersive" type="button" aria-label="Headset" title="Headset" aria-pressed="false" hidden><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 7h16a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-4.500l-2-3h-3l-2 3H4a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2zm3 3a1.800 1.800 0 1 0 0 3.600A1.800 1.800 0 0 0 7 10zm10 0a1.800 1.800 0 1 0 0 3.600 1.800 1.800 0 0 0 0-3.600z"/></svg></button>
  <button id="fullscreen" type="button" aria-label="Full screen" title="Full screen (f)"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z"/></svg></button>
</footer>`;

const THUMB_PIXELS = 14; // as in element-style.js

export const formatTime = (/** @type {number} */ seconds) =>
  `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

export class ControlBar {
  #listening = new AbortController();

  /**
   * @param {ShadowRoot} root that holds CONTROL_BAR
   * @param {import("./player.js").Player} player
   * @param {import("./controls.js").Controls} controls
   * @param {import("./captions.js").Captions} captions
   * @param {() => void} toggleFullscreen @param {() => void} toggleImmersive
   */
  constructor(root, player, controls, captions, toggleFullscreen, toggleImmersive) {
    this.root = root;
    this.player = player;
    this.#listen("play", "click", () => player.toggle());
    this.#listen("mute", "click", () => player.setVolume(player.volume || 1, !this.#silent));
    this.#listen("volume", "input", () => player.setVolume(Number(this.#volume.value), false));
    this.#listen("volume", "pointerup", () => controls.surface.focus());
    this.#listen("zoomout", "click", () => controls.zoom(1.2));
    this.#listen("zoomin", "click", () => controls.zoom(1 / 1.2));
    this.#listen("choose-captions", "click", () => captions.next());
    this.#listen("save", "click", () => this.#save());
    this.#listen("fullscreen", "click", (event) => {
      toggleFullscreen();
      if (/** @type {MouseEvent} */ (event).detail) controls.surface.focus(); // clicked, not pressed: the space bar is to play
    });
    this.#listen("immersive", "click", toggleImmersive);
    this.#listen("seek", "input", () => player.seek(Number(this.#seek.value)));
    this.#listen("seek", "pointerup", () => controls.surface.focus()); // dragged: the arrow keys are to turn
    this.#listen("seek", "pointermove", (event) => this.#point(/** @type {PointerEvent} */ (event)));
    this.#listen("seek", "pointerleave", () => (this.#find("pointed").hidden = true));
    this.#find("fullscreen").hidden = !document.fullscreenEnabled; // an iframe needs allow="fullscreen"; iPhones have none
    this.#offerImmersive();
    player.addEventListener("immersive", () => this.#find("immersive").setAttribute("aria-pressed", String(player.immersive)));
    player.addEventListener("manifest", () => {
      this.#showTime();
      this.#showVolume();
    });
    player.addEventListener("volume", () => this.#showVolume());
    captions.addEventListener("change", () => this.#showCaptions(captions));
    player.addEventListener("time", () => this.#showTime());
    player.addEventListener("buffered", () => this.#showBuffered());
    for (const name of ["play", "pause"]) player.addEventListener(name, () => this.#showPlaying());
  }

  close() {
    this.#listening.abort();
  }

  get #seek() {
    return /** @type {HTMLInputElement} */ (this.#find("seek"));
  }

  get #volume() {
    return /** @type {HTMLInputElement} */ (this.#find("volume"));
  }

  get #silent() {
    return this.player.muted || this.player.volume === 0;
  }

  /** @param {string} id */
  #find(id) {
    return /** @type {HTMLElement} */ (this.root.getElementById(id));
  }

  /** @param {string} id @param {string} event @param {(event: Event) => void} act */
  #listen(id, event, act) {
    this.#find(id).addEventListener(event, act, { signal: this.#listening.signal });
  }

  /** Where there is a headset, now or later. */
  async #offerImmersive() {
    const { xr } = /** @type {any} */ (navigator);
    if (!xr) return;
    const offer = async () => {
      const there = await xr.isSessionSupported("immersive-vr").catch(() => false); // a policy may forbid to ask
      this.#find("immersive").hidden = !there;
    };
    xr.addEventListener("devicechange", offer, { signal: this.#listening.signal });
    await offer();
  }

  #showPlaying() {
    const { playing } = this.player;
    const button = this.#find("play");
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
    button.title = playing ? "Pause (space)" : "Play (space)";
  }

  #showVolume() {
    const { volume, muted, manifest } = this.player;
    const button = this.#find("mute");
    this.#volume.value = String(muted ? 0 : volume);
    this.#find("stage").classList.toggle("muted", this.#silent);
    button.setAttribute("aria-label", this.#silent ? "Unmute" : "Mute");
    button.title = this.#silent ? "Unmute (m)" : "Mute (m)";
    button.hidden = this.#volume.hidden = !manifest?.sound;
  }

  /** @param {import("./captions.js").Captions} captions */
  #showCaptions({ tracks, shown }) {
    const button = this.#find("choose-captions");
    button.hidden = !tracks.length;
    button.setAttribute("aria-pressed", String(shown !== null));
    button.title = `Captions${shown ? `: ${shown.label}` : ""} (c)`;
  }

  #showTime() {
    const { time, duration } = this.player;
    const seek = this.#seek;
    seek.max = String(duration);
    if (!seek.matches(":active")) seek.value = String(time);
    seek.style.setProperty("--played", String(Number(seek.value) / duration || 0));
    seek.setAttribute("aria-valuetext", `${formatTime(time)} of ${formatTime(duration)}`);
    const total = document.createElement("span");
    total.className = "total";
    total.textContent = ` / ${formatTime(duration)}`;
    this.#find("time").replaceChildren(formatTime(time), total);
  }

  #showBuffered() {
    const { buffered, duration } = this.player;
    const percent = (/** @type {number} */ seconds) => `${(100 * seconds) / duration || 0}%`;
    const stops = buffered.flatMap(({ start, end }) => [
      `transparent ${percent(start)}`, `var(--there) ${percent(start)} ${percent(end)}`, `transparent ${percent(end)}`,
    ]);
    this.#seek.style.setProperty("--buffered", `linear-gradient(90deg, ${["transparent 0%", ...stops, "transparent 100%"]})`);
  }

  async #save() {
    const { player } = this;
    const link = document.createElement("a");
    link.download = `${player.manifest?.title ?? "view"}-${player.frame}.png`;
    link.href = URL.createObjectURL(await player.screenshot());
    link.click();
    URL.revokeObjectURL(link.href);
  }

  /** Show the time under the pointer. @param {PointerEvent} event */
  #point({ offsetX }) {
    const [seek, pointed] = [this.#seek, this.#find("pointed")];
    const half = THUMB_PIXELS / 2; // where the thumb's middle is at either end
    const share = (offsetX - half) / (seek.clientWidth - THUMB_PIXELS);
    pointed.textContent = formatTime(Math.min(1, Math.max(0, share)) * this.player.duration);
    pointed.style.left = `${offsetX}px`;
    pointed.hidden = !this.player.manifest;
  }
}
