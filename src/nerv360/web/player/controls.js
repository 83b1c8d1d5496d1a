/** Mouse, touch, wheel, keyboard and device orientation control the view and the time of a Player. */

import { DeviceOrientation } from "./device-orientation.js";
import { focal } from "./geometry.js";
import { shortcut, usesKey } from "./keyboard.js";

/**
 * @typedef {object} ControlsOptions
 * @property {EventTarget} [keyboard] whose keys are listened to; by default those of the surface, while it has the focus
 * @property {"always" | "focused"} [wheel] when the wheel zooms rather than scrolls the page; by default "focused"
 * @property {() => void} [fullscreen] of the key f
 * @property {() => void} [help] of the key ?
 */

const DEGREE = Math.PI / 180;
const INERTIA_MS = 260; // in which the inertia of a drag loses 63 % of its velocity

export class Controls {
  /** @type {Map<number, {x: number, y: number}>} */ #pointers = new Map();
  #velocity = { x: 0, y: 0 }; // pixels per millisecond
  #movedAt = 0;
  #inertiaFrame = 0;
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
    surface.style.touchAction = "none"; // else a finger scrolls the page too
    if (!surface.hasAttribute("tabindex")) surface.tabIndex = 0; // keys need the focus
    const { signal } = this.#listening;
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
    this.#stopInertia();
    this.surface.style.touchAction = this.#touchAction;
  }

  get followsDevice() {
    return this.#orientation.active;
  }

  /** Let the device's orientation turn the view, or no longer. Rejects where the user or the browser refuses. */
  async followDevice(/** @type {boolean} */ follow) {
    this.#stopInertia();
    if (follow) await this.#orientation.start();
    else this.#orientation.stop();
  }

  /** Change the view; a drag's inertia ends. @param {Partial<import("./player.js").View>} change */
  turn(change) {
    this.#stopInertia();
    this.player.setView(change);
    this.#orientation.recentre();
  }

  /** Go back to the view at the start. */
  lookAhead() {
    this.#stopInertia();
    this.player.resetView();
    this.#orientation.recentre();
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
    this.#stopInertia();
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
    if (this.#pointers.size === 1) {
      const elapsed = Math.max(1, event.timeStamp - this.#movedAt);
      const gain = Math.min(1, elapsed / 40);
      this.#velocity.x += gain * (dx / elapsed - this.#velocity.x);
      this.#velocity.y += gain * (dy / elapsed - this.#velocity.y);
      this.#movedAt = event.timeStamp;
      this.#rotate(dx, dy);
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
    const still = event.timeStamp - this.#movedAt > 80 || matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (this.#pointers.size === 0 && !still && event.type === "pointerup") this.#startInertia();
  }

  #startInertia() {
    let last = performance.now();
    const step = (/** @type {number} */ now) => {
      const elapsed = Math.max(0, Math.min(50, now - last));
      last = now;
      this.#rotate(this.#velocity.x * elapsed, this.#velocity.y * elapsed);
      const decay = Math.exp(-elapsed / INERTIA_MS);
      this.#velocity = { x: this.#velocity.x * decay, y: this.#velocity.y * decay };
      if (Math.hypot(this.#velocity.x, this.#velocity.y) > 0.01) this.#inertiaFrame = requestAnimationFrame(step);
    };
    this.#inertiaFrame = requestAnimationFrame(step);
  }

  #stopInertia() {
    cancelAnimationFrame(this.#inertiaFrame);
  }

  #pointerDistance() {
    const [a, b] = [...this.#pointers.values()];
    return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    const root = /** @type {Document | ShadowRoot} */ (this.surface.getRootNode());
    const mine = this.options.wheel === "always" || event.ctrlKey || root.activeElement === this.surface;
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
