/** The part of a panorama that a view touches. */

import { rotation } from "../geometry.js";

/** @typedef {import("../geometry.js").Viewport} Viewport */
/**
 * @typedef {{top: number, left: number, height: number, width: number}} PanoramaWindow rows and columns of the panorama; columns
 *   go round
 */

const TILE = 64; // pixels, each way, that the core paints at once
const MARGIN = 2; // pixels around a window, which the core paints too, and around a view, for interpolation
const EDGE_POINTS = 64; // of each edge of a view: between two of them it reaches no pixel further

/**
 * The window that a view is sampled from: all that whole tiles have around it, and all columns where it comes to a pole.
 * @param {Viewport} view @param {number} width @param {number} height of the panorama @returns {PanoramaWindow}
 */
export function windowOf(view, width, height) {
  const extent = extentOf(view, width, height);
  const [first, end] = [(extent.top - MARGIN) / TILE, (extent.bottom + MARGIN) / TILE].map((row, i) => TILE * (i ? Math.ceil(row) : Math.floor(row)));
  const north = extent.top <= 2 * MARGIN;
  const south = extent.bottom >= height - 2 * MARGIN;
  const top = north ? 0 : Math.max(0, first) + MARGIN;
  const bottom = south ? height : Math.min(height, end) - MARGIN;
  const left = TILE * Math.floor((extent.left - MARGIN) / TILE) + MARGIN;
  const right = TILE * Math.ceil((extent.right + MARGIN) / TILE) - MARGIN;
  if (north || south || right - left >= width) return { top, left: 0, height: bottom - top, width };
  return { top, left, height: bottom - top, width: right - left };
}

/**
 * What a view touches of the panorama, and no more; all columns where it comes to a pole.
 * @param {Viewport} view @param {number} width @param {number} height of the panorama @returns {PanoramaWindow}
 */
export function regionOf(view, width, height) {
  const extent = extentOf(view, width, height);
  const [top, bottom] = [Math.max(0, Math.floor(extent.top) - MARGIN), Math.min(height, Math.ceil(extent.bottom) + MARGIN)];
  const [left, right] = [Math.floor(extent.left) - MARGIN, Math.ceil(extent.right) + MARGIN];
  const round = extent.top <= 2 * MARGIN || extent.bottom >= height - 2 * MARGIN || right - left >= width;
  return { top, left: round ? 0 : left, height: bottom - top, width: round ? width : right - left };
}

/**
 * A region with some pixels more around it, and where it is moving to.
 * @param {PanoramaWindow} region @param {number} around @param {number} right pixels that it moves @param {number} down
 * @param {number} width @param {number} height of the panorama @returns {PanoramaWindow}
 */
export function grown(region, around, right, down, width, height) {
  const top = Math.max(0, region.top - around + Math.min(0, down));
  const bottom = Math.min(height, region.top + region.height + around + Math.max(0, down));
  const left = region.left - around + Math.min(0, right);
  const wide = region.width + 2 * around + Math.abs(right);
  return wide >= width ? { top, left: 0, height: bottom - top, width } : { top, left, height: bottom - top, width: wide };
}

/**
 * Pixels from the middle of a region to a place, on the sphere.
 * @param {PanoramaWindow} region @param {number} row @param {number} column @param {number} width @param {number} height of the panorama
 */
export function distanceFrom(region, row, column, width, height) {
  const across = Math.abs(((column - region.left - region.width / 2 + 1.5 * width) % width) - width / 2);
  return Math.hypot(row - region.top - region.height / 2, across * Math.sin((Math.PI * row) / height));
}

/**
 * How far the pixels of a view reach: its edges are furthest, or a pole.
 * @param {Viewport} view @param {number} width @param {number} height
 */
function extentOf(view, width, height) {
  const matrix = rotation({ ...view, yawDeg: 0 });
  const [across, up] = [view.hfovDeg, view.vfovDeg].map((fov) => Math.tan((fov * Math.PI) / 360));
  const longitudes = [];
  const latitudes = [];
  for (let i = 0; i <= EDGE_POINTS; i++) {
    const part = (2 * i) / EDGE_POINTS - 1;
    for (const [x, y] of [[part, -1], [part, 1], [-1, part], [1, part]]) {
      const [right, over, forward] = [0, 3, 6].map((row) => matrix[row] * x * across + matrix[row + 1] * y * up + matrix[row + 2]);
      longitudes.push(Math.atan2(right, forward));
      latitudes.push(Math.atan2(over, Math.hypot(right, forward)));
    }
  }
  const [x, y, depth] = matrix.slice(3, 6); // of the north pole, as the camera sees it
  if (Math.abs(x) <= across * Math.abs(depth) && Math.abs(y) <= up * Math.abs(depth)) latitudes.push((Math.sign(depth) * Math.PI) / 2);
  const column = (/** @type {number} */ longitude) => (longitude / (2 * Math.PI) + 0.5 + view.yawDeg / 360) * width;
  const row = (/** @type {number} */ latitude) => (0.5 - latitude / Math.PI) * height;
  return {
    left: column(Math.min(...longitudes)), right: column(Math.max(...longitudes)),
    top: row(Math.max(...latitudes)), bottom: row(Math.min(...latitudes)),
  };
}
