/** Mouse, touch, wheel, keyboard and device orientation control the view and the time of a Player. */

import { deviceAngles, focal } from "./geometry.js";

const DEGREE = Math.PI / 180;
const INERTIA_MS = 260; // in which the inertia of a drag loses 63 % of its velocity
const KEY_STEP_DEG = 6;

export class Controls {
  /** @type {Map<number, {x: number, y: number}>} */ #pointers = new Map();
  #velocity = { x: 0, y: 0 }; // pixels per millisecond
  #movedAt = 0;
  #inertiaFrame = 0;
  #pinchDistance = 0;
  /** @type {((event: DeviceOrientationEvent) => void) | null} */ #orientationListener = null;

  /**
   * @param {import("./player.js").Player} player @param {HTMLElement} surface gets pointers and, while it or nothing else
   *   has the focus, keys
   * @param {() => void} fullscreen
   */
  constructor(player, surface, fullscreen) {
    this.player = player;
    this.surface = surface;
    this.fullscreen = fullscreen;
    surface.addEventListener("pointerdown", (event) => this.#down(event));
    surface.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of /** @type {const} */ (["pointerup", "pointercancel"]))
      surface.addEventListener(name, (event) => this.#up(event));
    surface.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  get followsDevice() {
    return this.#orientationListener !== null;
  }

  /** Let the device's orientation turn the view, or no longer. Rejects where the user or the browser refuses. */
  async followDevice(/** @type {boolean} */ follow) {
    if (this.#orientationListener) window.removeEventListener("deviceorientation", this.#orientationListener);
    this.#orientationListener = null;
    if (!follow) return;
    this.#stopInertia();
    const permission = /** @type {any} */ (DeviceOrientationEvent).requestPermission;
    if (permission && (await permission.call(DeviceOrientationEvent)) !== "granted") throw new Error("not allowed");
    let start = NaN; // the yaw that the device had: looking on begins where the view is
    const { yawDeg: before } = this.player.view;
    this.#orientationListener = ({ alpha, beta, gamma }) => {
      if (alpha === null || beta === null || gamma === null) return;
      const angles = deviceAngles(alpha, beta, gamma, screen.orientation?.angle ?? 0);
      if (Number.isNaN(start)) start = angles.yawDeg;
      this.player.setView({ ...angles, yawDeg: angles.yawDeg - start + before });
    };
    window.addEventListener("deviceorientation", this.#orientationListener);
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
    player.setView({
      yawDeg: view.yawDeg - right / fx / DEGREE / shrink,
      pitchDeg: view.pitchDeg + down / fy / DEGREE,
    });
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

  #pointerDistance() {
    const [a, b] = [...this.#pointers.values()];
    return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  #stopInertia() {
    cancelAnimationFrame(this.#inertiaFrame);
  }

  /** Go back to the view at the start. */
  lookAhead() {
    this.#stopInertia();
    this.player.resetView();
  }

  /** @param {number} factor of the field of view */
  zoom(factor) {
    this.player.setView({ fovDeg: this.player.view.fovDeg * factor });
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    this.zoom(Math.exp((event.deltaY * lines) / (event.ctrlKey ? 100 : 900)));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const focused = document.activeElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const buttons = focused instanceof HTMLButtonElement && ![" ", "Enter"].includes(event.key);
    if (focused && focused !== this.surface && focused !== document.body && !buttons) return; // it answers its own keys
    const { player } = this;
    const view = player.view;
    const turn = (/** @type {Partial<import("./player.js").View>} */ change) => {
      this.#stopInertia();
      player.setView(change);
    };
    const step = (KEY_STEP_DEG * view.fovDeg) / 78;
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowLeft: () => turn({ yawDeg: view.yawDeg - step }),
      ArrowRight: () => turn({ yawDeg: view.yawDeg + step }),
      ArrowUp: () => turn({ pitchDeg: view.pitchDeg + step }),
      ArrowDown: () => turn({ pitchDeg: view.pitchDeg - step }),
      "+": () => this.zoom(1 / 1.1),
      "=": () => this.zoom(1 / 1.1),
      "-": () => this.zoom(1.1),
      " ": () => (player.playing ? player.pause() : player.play()),
      ",": () => player.step(-1),
      ".": () => player.step(1),
      Home: () => this.lookAhead(),
      f: () => this.fullscreen(),
    };
    const action = actions[event.key] ?? actions[event.key.toLowerCase()]; // Caps Lock
    if (!action) return;
    event.preventDefault();
    action();
  }
}
