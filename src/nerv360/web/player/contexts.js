/**
 * Latent integers, each coded with the class that its neighbours foretell (docs/bitstream.md, "Contexts"). Tested against
 * nerv360.bitstream.contexts. Everything here is exact: doubles that hold integers.
 */

import { Reader } from "./entropy.js";
import { BrokenFile } from "./errors.js";
import { FRACTIONS, SCALES, classOf } from "./laplace.js";

/**
 * @typedef {{mix: Float64Array, place: Float64Array, spread: Float64Array, scale: Float64Array, mean: Float64Array, timedMean: Float64Array}} Contexts
 * @typedef {{row: number, column: number, spacing: number, near: number[][], far: number[][]}} Place
 *   the cells (row + i spacing, column + j spacing); their neighbours as (rows down, columns right)
 * @typedef {{channels: number, rows: number, columns: number}} Size
 */

const HIDDEN = 8;
const LARGEST = 2 ** 15 - 1;
const MOST = 255; // magnitudes are told apart up to this sum
const PARAMETER_CLASS = classOf(34);
const LOGARITHMS = Float64Array.from({ length: MOST + 1 }, (_, sum) => Math.round(16 * Math.log2(1 + sum))); // none is near a half

const PLACES = places();
const MARGIN = 12; // as far as neighbours lie

/** @returns {Place[]} */
function places() {
  const corners = (/** @type {number} */ down, /** @type {number} */ right) => [[-down, -right], [-down, right], [down, -right], [down, right]];
  const found = [{ row: 0, column: 0, spacing: 8, near: /** @type {number[][]} */ ([]), far: /** @type {number[][]} */ ([]) }];
  for (const d of [4, 2, 1]) {
    const sides = [[0, -d], [0, d], [-d, 0], [d, 0]];
    found.push(
      { row: d, column: d, spacing: 2 * d, near: corners(d, d), far: [...corners(3 * d, d), ...corners(d, 3 * d)] },
      { row: 0, column: d, spacing: 2 * d, near: sides, far: [...corners(2 * d, d), ...corners(d, 2 * d)] },
      { row: d, column: 0, spacing: 2 * d, near: sides, far: corners(d, d) },
    );
  }
  return found;
}

/** The order of a part's keys: each, with the keys before and behind it that are known by then. @returns {number[][]} */
export function references(/** @type {number} */ keys) {
  const order = [[0]];
  let step = 1;
  while (2 * step < keys) step *= 2;
  for (; step >= 1; step /= 2)
    for (let key = step; key < keys; key += 2 * step) order.push([key, key - step, key + step < keys ? key + step : key - step]);
  return order;
}

/** @param {Uint8Array} data @param {number} channels of all latents @returns {Contexts} */
export function readContexts(data, channels) {
  const reader = new Reader(data);
  const sizes = [4 * HIDDEN, PLACES.length * HIDDEN, HIDDEN, channels, channels, 2];
  const parameters = Float64Array.from(reader.read(new Uint16Array(sizes.reduce((a, b) => a + b)).fill(PARAMETER_CLASS)));
  reader.finish();
  let end = 0;
  const [mix, place, spread, scale, mean, timedMean] = sizes.map((size) => parameters.subarray(end, (end += size)));
  return { mix, place, spread, scale, mean, timedMean };
}

/** A grid with a margin of zeros: what lies beyond its edges. */
const padded = (/** @type {Size} */ { rows, columns }) => {
  const width = columns + 2 * MARGIN;
  return { width, area: width * (rows + 2 * MARGIN) };
};

/**
 * Consecutive keys of a latent: [key][channel][row][column] in one array.
 * @param {Uint8Array} data @param {Contexts} contexts @param {number} firstChannel of the latent @param {number} keys @param {Size} size
 */
export function readLatent(data, contexts, firstChannel, keys, size) {
  const { channels, rows, columns } = size;
  const reader = new Reader(data);
  const { width, area } = padded(size);
  const known = Array.from({ length: keys }, () => new Int32Array(channels * area));
  const nothing = new Int32Array(channels * area);
  const turns = PLACES.map((_, place) => new Turn(place, contexts, firstChannel, size));
  for (const [key, before, behind] of references(keys))
    for (const turn of turns)
      if (key === 0) turn.read(reader, known[0], nothing, nothing, turn.alone);
      else turn.read(reader, known[key], known[before], known[behind], turn.timed);
  reader.finish();
  const integers = new Int32Array(keys * channels * rows * columns);
  let end = 0;
  for (const cells of known)
    for (let channel = 0; channel < channels; channel++)
      for (let row = MARGIN; row < MARGIN + rows; row++, end += columns) {
        const start = channel * area + row * width + MARGIN;
        integers.set(cells.subarray(start, start + columns), end);
      }
  return integers;
}

/** Cells that are coded together: those of one place in all channels of a key. */
class Turn {
  /** @param {number} number of the place @param {Contexts} contexts @param {number} firstChannel @param {Size} size */
  constructor(number, contexts, firstChannel, size) {
    const { channels, rows, columns } = size;
    const { width, area } = padded(size);
    const { row, column, spacing, near, far } = PLACES[number];
    this.near = Int32Array.from(near, ([down, right]) => down * width + right);
    this.far = Int32Array.from(far, ([down, right]) => down * width + right);
    this.contexts = contexts;
    this.channels = channels;
    this.firstChannel = firstChannel;
    const { mix, place } = contexts;
    this.alone = place.slice(number * HIDDEN, (number + 1) * HIDDEN).map((value) => 16 * value);
    this.timed = this.alone.map((value, i) => value + 16 * mix[3 * HIDDEN + i]); // where there are keys beside
    this.cells = new Uint32Array(channels * Math.ceil(Math.max(0, rows - row) / spacing) * Math.ceil(Math.max(0, columns - column) / spacing));
    let end = 0;
    for (let channel = 0; channel < channels; channel++)
      for (let i = row; i < rows; i += spacing)
        for (let j = column; j < columns; j += spacing) this.cells[end++] = channel * area + (i + MARGIN) * width + j + MARGIN;
  }

  /**
   * @param {Reader} reader @param {Int32Array} own the key, and those beside it: @param {Int32Array} before @param {Int32Array} behind
   * @param {Float64Array} base `alone` or `timed`
   */
  read(reader, own, before, behind, base) {
    const { near, far, cells, channels } = this;
    const { mean, timedMean } = this.contexts;
    const classes = new Uint16Array(cells.length);
    const centres = new Int32Array(cells.length);
    for (let channel = 0, i = 0; channel < channels; channel++) {
      const nearMean = base === this.alone ? mean[this.firstChannel + channel] : timedMean[0];
      const unknown = classOf(this.#scale(channel, base, 0, 0, 0));
      for (const end = i + cells.length / channels; i < end; i++) {
        const cell = cells[i];
        let nearby = 0;
        let sum = 0;
        for (let n = 0; n < near.length; n++) {
          const value = own[cell + near[n]];
          nearby += Math.abs(value);
          sum += value;
        }
        let around = 0;
        for (let n = 0; n < far.length; n++) around += Math.abs(own[cell + far[n]]);
        const other = Math.abs(before[cell]) + Math.abs(behind[cell]);
        if (nearby === 0 && around === 0 && other === 0) {
          classes[i] = unknown;
          continue;
        }
        const eighths = Math.floor((2 * sum * nearMean + 4 * (before[cell] + behind[cell]) * timedMean[1] + 128) / 256);
        const centre = Math.floor((eighths + FRACTIONS / 2) / FRACTIONS);
        classes[i] = classOf(this.#scale(channel, base, nearby, around, other), eighths - FRACTIONS * centre + FRACTIONS / 2);
        centres[i] = centre;
      }
    }
    const integers = reader.read(classes);
    for (let i = 0; i < cells.length; i++) {
      const value = centres[i] + integers[i];
      if (Math.abs(value) > LARGEST) throw new BrokenFile("The file is damaged: an impossible latent.");
      own[cells[i]] = value;
    }
  }

  /** The scale of a cell, of sums of magnitudes around it. */
  #scale(
    /** @type {number} */ channel, /** @type {Float64Array} */ base,
    /** @type {number} */ near, /** @type {number} */ far, /** @type {number} */ other,
  ) {
    const { mix, spread, scale } = this.contexts;
    const a = LOGARITHMS[Math.min(near, MOST)];
    const b = LOGARITHMS[Math.min(far, MOST)];
    const c = LOGARITHMS[Math.min(other, MOST)];
    let steps = 256 * scale[this.firstChannel + channel];
    for (let i = 0; i < HIDDEN; i++)
      steps += Math.max(0, base[i] + a * mix[i] + b * mix[HIDDEN + i] + c * mix[2 * HIDDEN + i]) * spread[i];
    return Math.min(Math.max(Math.floor((steps + 2048) / 4096), 0), SCALES - 1);
  }
}
