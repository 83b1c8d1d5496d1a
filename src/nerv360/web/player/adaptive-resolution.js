/** How many pixels are decoded: while something moves, as many as this machine decodes in time; at rest, all that help. */

import { nativeView, resizeView } from "./geometry.js";

/** @typedef {import("./geometry.js").Viewport} Viewport */

const BUDGET_MS = 60; // for a picture while something moves
const HEADROOM = 0.7; // share of the budget that a picture larger than the last must keep to
const SCALES = [1, 0.75, 0.5]; // of each side; under half, shapes are lost
const MAX_PIXELS = 1 << 21;

export class AdaptiveResolution {
  #msPerPixel = 0;
  #scale = 1;

  /** Forget what was measured: another backend decodes. */
  reset() {
    this.#msPerPixel = 0;
  }

  /** @param {number} milliseconds of decoding @param {Viewport} view that was decoded */
  measure(milliseconds, { width, height }) {
    const cost = milliseconds / (width * height);
    this.#msPerPixel = this.#msPerPixel ? 0.7 * this.#msPerPixel + 0.3 * cost : 1e-9; // the first picture warms up
  }

  /**
   * The view to decode for one on the canvas: the same angles on fewer pixels, or as few as the network can draw.
   * @param {Viewport} view on the canvas @param {import("./player.js").Manifest} manifest
   * @param {number | "auto"} resolution pixels of the shorter side, at most @param {boolean} moving
   * @returns {Viewport}
   */
  viewToDecode(view, { trained, scalable }, resolution, moving) {
    const cap = resolution === "auto" ? 1 : resolution / Math.min(view.width, view.height);
    const native = limitPixels(nativeView(limitPixels(resizeView(view, Math.min(1, cap))), trained));
    if (!moving) return native;
    if (scalable) this.#scale = this.#affordableScale(native.width * native.height);
    return resizeView(native, this.#scale);
  }

  /** The largest scale at which a picture of so many pixels is decoded in time. @param {number} pixels */
  #affordableScale(pixels) {
    const fits = (/** @type {number} */ scale) =>
      this.#msPerPixel * pixels * scale * scale <= BUDGET_MS * (scale > this.#scale ? HEADROOM : 1);
    return SCALES.find(fits) ?? SCALES[SCALES.length - 1];
  }
}

/** @param {Viewport} view @returns {Viewport} */
const limitPixels = (view) => resizeView(view, Math.min(1, Math.sqrt(MAX_PIXELS / (view.width * view.height))));
