/** Mouse, touch, wheel, keyboard and device orientation control the view and the time of a Player. */

import { DeviceOrientation } from "./device-orientation.js";
import { focal } from "./geometry.js";
import { shortcut, usesKey } from "./keyboard.js";

/**
 * @typedef {object} ControlsOptions
 * @property {EventTarget} [keyboard] whose keys are listened to; by default those of the surface, while it has the focus
 * @property {"always" | "focused"} [wheel] when the wheel zooms rather than scrolls the page; by default "focused"
 * @property {"always" | "focused"} [touch] when a vertical swipe turns the view rather than scrolls the page; by default "always"
 * @property {() => void} [captions] of the key c
 * @property {() => void} [fullscreen] of the key f, and of a double click
 * @property {(text: string) => void} [warn] told what does not work
 */

const DEGREE = Math.PI / 180;
const INERTIA_MS = 260; // in which the inertia of a drag loses 63 % of its velocity
const CLICK_PIXELS = 5; // that the pointer may move

export class Controls {
  /** @type {Map<number, {x: number, y: number}>} */ #pointers = new Map();
  #velocity = { x: 0, y: 0 }; // pixels per millisecond
  #movedAt = 0;
  /** @type {{x: number, y: number} | null} */ #clickAt = null; // where a click would be, while the pointer has hardly moved
  #animation = 0; // request of the next step of a motion that goes on by itself; 0: there is none
  #pinchDistance = 0;
  #orientation;
  #listening = new AbortController();
  #touchAction;

  /**
   * @param {import("./player.js").Player} player @param {HTMLElement} surface that is dragged
   * @param {ControlsOptions} options
   */
  constructor(player, surface, options = {}) {
    this.player = player;
    this.surface = surface;
    this.options = options;
    this.#orientation = new DeviceOrientation(player);
    this.#touchAction = surface.style.touchAction;
    if (!surface.hasAttribute("tabindex")) surface.tabIndex = 0; // keys need the focus
    const { signal } = this.#listening;
    this.#shareTouch();
    for (const name of ["focus", "blur"]) surface.addEventListener(name, () => this.#shareTouch(), { signal });
    surface.addEventListener("dblclick", () => options.fullscreen?.(), { signal });
    surface.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    surface.addEventListener("pointermove", (event) => this.#move(event), { signal });
    for (const name of /** @type {const} */ (["pointerup", "pointercancel"]))
      surface.addEventListener(name, (event) => this.#up(event), { signal });
    surface.addEventListener("wheel", (event) => this.#wheel(event), { passive: false, signal });
    const keyboard = options.keyboard ?? surface;
    keyboard.addEventListener("keydown", (event) => this.#key(/** @type {KeyboardEvent} */ (event)), { signal });
  }

  /** Listen to nothing any more. */
  close() {
    this.#listening.abort();
    this.#orientation.stop();
    this.#stop();
    this.surface.style.touchAction = this.#touchAction;
  }

  get followsDevice() {
    return this.#orientation.active;
  }

  /** Let the device's orientation turn the view, or no longer. Rejects where the user or the browser refuses. */
  async followDevice(/** @type {boolean} */ follow) {
    this.#stop();
    if (follow) await this.#orientation.start();
    else this.#orientation.stop();
  }

  /** Turn to the right by itself, until the user turns. @param {number} speed degrees per second; 0: no longer */
  autorotate(speed) {
    this.#stop();
    if (!speed || reducedMotion()) return;
    this.#animate((elapsed) => {
      this.player.setView({ yawDeg: this.player.view.yawDeg + (speed * elapsed) / 1000 });
      return true;
    });
  }

  /** Change the view; what turns it by itself ends. @param {Partial<import("./player.js").View>} change */
  turn(change) {
    this.#stop();
    this.player.setView(change);
    this.#orientation.recentre();
  }

  /** Go back to the view at the start. */
  lookAhead() {
    this.#stop();
    this.player.resetView();
    this.#orientation.recentre();
  }

  /** Show the video otherwise. @param {import("./player.js").Projection} projection by default the one that is not shown */
  chooseProjection(projection = this.player.projection === "perspective" ? "little-planet" : "perspective") {
    this.player.setProjection(projection).catch(() => this.options.warn?.("The little planet could not be loaded"));
  }

  /** @param {number} factor of the field of view */
  zoom(factor) {
    this.player.setView({ fovDeg: this.player.view.fovDeg * factor });
  }

  /** Rotate the view by pixels of the surface, as a drag does. */
  #rotate(/** @type {number} */ dx, /** @type {number} */ dy) {
    const { player, surface } = this;
    const view = player.view;
    const viewport = { ...player.viewport, width: surface.clientWidth, height: surface.clientHeight };
    const { fx, fy } = focal(viewport);
    const [s, c] = [Math.sin(view.rollDeg * DEGREE), Math.cos(view.rollDeg * DEGREE)];
    const [right, down] = [c * dx - s * dy, s * dx + c * dy];
    const shrink = Math.max(0.2, Math.cos(view.pitchDeg * DEGREE)); // near a pole the same pixels are more yaw
    const yawDeg = -right / fx / DEGREE / shrink;
    this.#orientation.turn(yawDeg);
    const pitchDeg = this.followsDevice ? view.pitchDeg : view.pitchDeg + down / fy / DEGREE; // pitch is the device's
    player.setView({ yawDeg: view.yawDeg + yawDeg, pitchDeg });
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0) return;
    const first = !this.#animation && this.#pointers.size === 0;
    this.#clickAt = first ? { x: event.clientX, y: event.clientY } : null; // what stops a motion is no click
    this.#stop();
    this.surface.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.#velocity = { x: 0, y: 0 };
    this.#movedAt = event.timeStamp;
    this.#pinchDistance = this.#pointerDistance();
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.x, event.clientY - before.y];
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const moved = this.#clickAt && Math.hypot(event.clientX - this.#clickAt.x, event.clientY - this.#clickAt.y);
    if (moved && moved > CLICK_PIXELS) this.#clickAt = null;
    if (this.#pointers.size === 1) {
      const elapsed = Math.max(1, event.timeStamp - this.#movedAt);
      const gain = Math.min(1, elapsed / 40);
      this.#velocity.x += gain * (dx / elapsed - this.#velocity.x);
      this.#velocity.y += gain * (dy / elapsed - this.#velocity.y);
      this.#movedAt = event.timeStamp;
      this.#rotate(dx, event.pointerType === "touch" && this.#sharesTouch ? 0 : dy);
    } else if (this.#pointers.size === 2) {
      const distance = this.#pointerDistance();
      if (this.#pinchDistance && distance) this.zoom(this.#pinchDistance / distance);
      this.#pinchDistance = distance;
    }
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    this.#pinchDistance = this.#pointerDistance();
    if (event.type !== "pointerup") return;
    if (this.#clickAt && event.pointerType === "touch") this.surface.focus(); // from now on swipes turn
    else if (this.#clickAt) this.player.toggle();
    const still = event.timeStamp - this.#movedAt > 80 || reducedMotion();
    if (this.#pointers.size === 0 && !still && !this.#clickAt) this.#animate((elapsed) => this.#swing(elapsed));
  }

  /** The inertia of a drag, which fades. @param {number} elapsed milliseconds */
  #swing(elapsed) {
    this.#rotate(this.#velocity.x * elapsed, this.#velocity.y * elapsed);
    const decay = Math.exp(-elapsed / INERTIA_MS);
    this.#velocity = { x: this.#velocity.x * decay, y: this.#velocity.y * decay };
    return Math.hypot(this.#velocity.x, this.#velocity.y) > 0.01;
  }

  /** Do a step in every animation frame while it returns true. @param {(elapsed: number) => boolean} step milliseconds */
  #animate(step) {
    let last = performance.now();
    const next = (/** @type {number} */ now) => {
      const goesOn = step(Math.max(0, Math.min(50, now - last)));
      last = now;
      this.#animation = goesOn ? requestAnimationFrame(next) : 0;
    };
    this.#animation = requestAnimationFrame(next);
  }

  #stop() {
    cancelAnimationFrame(this.#animation);
    this.#animation = 0;
  }

  /** Whether vertical swipes scroll the page. */
  get #sharesTouch() {
    return this.options.touch === "focused" && !this.#focused;
  }

  #shareTouch() {
    this.surface.style.touchAction = this.#sharesTouch ? "pan-y" : "none";
  }

  get #focused() {
    const root = /** @type {Document | ShadowRoot} */ (this.surface.getRootNode());
    return root.activeElement === this.surface;
  }

  #pointerDistance() {
    const [a, b] = [...this.#pointers.values()];
    return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    const mine = this.options.wheel === "always" || event.ctrlKey || this.#focused;
    if (!mine) return; // it scrolls the page
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    this.zoom(Math.exp((event.deltaY * lines) / (event.ctrlKey ? 100 : 900)));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || usesKey(event.composedPath()[0], event.key)) return;
    const action = shortcut(event.key, this);
    if (!action) return;
    event.preventDefault();
    action();
  }
}

const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
