/** The view follows how a phone is held: device orientation turns it, and a drag turns it further in yaw. */

import { deviceAngles } from "./geometry.js";

export class DeviceOrientation {
  /** @type {((event: DeviceOrientationEvent) => void) | null} */ #listener = null;
  #yawOffsetDeg = NaN; // from the device's yaw to that of the view; NaN: the next event keeps the view

  /** @param {import("./player.js").Player} player */
  constructor(player) {
    this.player = player;
  }

  get active() {
    return this.#listener !== null;
  }

  /** Rejects where the user or the browser refuses. */
  async start() {
    this.stop();
    const permission = /** @type {any} */ (DeviceOrientationEvent).requestPermission;
    if (permission && (await permission.call(DeviceOrientationEvent)) !== "granted") throw new Error("not allowed");
    this.#listener = (event) => this.#follow(event);
    window.addEventListener("deviceorientation", this.#listener);
  }

  stop() {
    if (this.#listener) window.removeEventListener("deviceorientation", this.#listener);
    this.#listener = null;
    this.#yawOffsetDeg = NaN;
  }

  /** Turn the view against the device. @param {number} yawDeg */
  turn(yawDeg) {
    this.#yawOffsetDeg += yawDeg;
  }

  /** Keep the yaw of the present view, however the device is held. */
  recentre() {
    this.#yawOffsetDeg = NaN;
  }

  /** @param {DeviceOrientationEvent} event */
  #follow({ alpha, beta, gamma }) {
    if (alpha === null || beta === null || gamma === null) return;
    const angles = deviceAngles(alpha, beta, gamma, screen.orientation?.angle ?? 0);
    if (Number.isNaN(this.#yawOffsetDeg)) this.#yawOffsetDeg = this.player.view.yawDeg - angles.yawDeg;
    this.player.setView({ ...angles, yawDeg: angles.yawDeg + this.#yawOffsetDeg });
  }
}
