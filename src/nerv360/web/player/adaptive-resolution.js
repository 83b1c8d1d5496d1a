/** How many pixels are decoded: while something moves, as many as this machine decodes in time; at rest, all that help. */

import { nativeView, resizeView } from "./geometry.js";

/** @typedef {import("./geometry.js").Viewport} Viewport */

const BUDGET_MS = 60; // for a picture while something moves
const HEADROOM = 0.7; // share of the budget that a picture larger than the last must keep to
const SCALES = [1, 0.75, 0.5]; // of each side; under half, shapes are lost
const MAX_PIXELS = 1 << 21;
const RESOLUTIONS = [1080, 720, 540, 360, 240]; // pixels of the shorter side

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
   * The view to decode for one on the canvas: the same angles on fewer pixels.
   * @param {Viewport} view on the canvas @param {import("./player.js").Manifest} manifest
   * @param {number | "auto"} resolution pixels of the shorter side, at most @param {boolean} moving
   * @returns {Viewport}
   */
  viewToDecode(view, manifest, resolution, moving) {
    const full = fullView(view, manifest);
    const chosen = resolution === "auto" ? 1 : resolution / Math.min(full.width, full.height);
    const most = Math.min(1, Math.max(chosen, leastScale(manifest)));
    if (!moving) return resizeView(full, most);
    if (manifest.scalable) this.#scale = this.#affordableScale(full.width * full.height);
    return resizeView(full, Math.min(most, this.#scale));
  }

  /** The largest scale at which a picture of so many pixels is decoded in time. @param {number} pixels */
  #affordableScale(pixels) {
    const fits = (/** @type {number} */ scale) =>
      this.#msPerPixel * pixels * scale * scale <= BUDGET_MS * (scale > this.#scale ? HEADROOM : 1);
    return SCALES.find(fits) ?? SCALES[SCALES.length - 1];
  }
}

/**
 * The resolutions that can be chosen for a view on the canvas: those that are drawn, and are not all that there is.
 * @param {Viewport} view @param {import("./player.js").Manifest} manifest
 */
export function resolutionsOf(view, manifest) {
  const { width, height } = fullView(view, manifest);
  const most = Math.min(width, height);
  return RESOLUTIONS.filter((each) => leastScale(manifest) * most <= each && each < most);
}

/** The view on all pixels that help. @param {Viewport} view on the canvas @param {import("./player.js").Manifest} manifest */
const fullView = (view, { trained }) => limitPixels(nativeView(limitPixels(view), trained));

/** A panorama can be sampled in any size. @param {import("./player.js").Manifest} manifest */
const leastScale = ({ scalable }) => (scalable ? SCALES[SCALES.length - 1] : 0);

/** @param {Viewport} view @returns {Viewport} */
const limitPixels = (view) => resizeView(view, Math.min(1, Math.sqrt(MAX_PIXELS / (view.width * view.height))));
