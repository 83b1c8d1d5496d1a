/**
 * The context model in integers: predicts the probability model of each latent from coded neighbours (docs/bitstream.md).
 * Everything here is exact: doubles that hold integers. Tested against the Python package.
 */

import { CODING_PASSES, CONTEXT_REACH, keyCodingOrder } from "./coding-order.js";
import { SymbolDecoder } from "./entropy.js";
import { BrokenFile } from "../errors.js";
import { FRACTIONS, SCALES, modelIndex } from "./laplace.js";

/**
 * @typedef {object} ContextModel the parameters of a network with one hidden layer, and of linear predictors
 * @property {Float64Array} inputWeight [near, far, reference keys, presence of reference keys][hidden]
 * @property {Float64Array} passBias [coding pass][hidden]
 * @property {Float64Array} scaleWeight [hidden]
 * @property {Float64Array} scale [channel] bias of the scale
 * @property {Float64Array} mean [channel] weight of the near neighbours, without reference keys
 * @property {Float64Array} temporalMeanWeight of the near neighbours and of the reference keys
 * @typedef {{channels: number, rows: number, columns: number}} GridSize
 */

const HIDDEN = 8;
const MAX_ABS_VALUE = 2 ** 15 - 1;
const MAX_MAGNITUDE_SUM = 255; // larger sums count as this
const PARAMETER_MODEL = modelIndex(34);
/** round(16 log2(1 + sum)); none is near a half. */
const LOGARITHMS = Float64Array.from({ length: MAX_MAGNITUDE_SUM + 1 }, (_, sum) => Math.round(16 * Math.log2(1 + sum)));
const MARGIN = CONTEXT_REACH; // of zeros around a grid

/** @param {Uint8Array} data @param {number} channels of all latents @returns {ContextModel} */
export function readContextModel(data, channels) {
  const decoder = new SymbolDecoder(data);
  const sizes = [4 * HIDDEN, CODING_PASSES.length * HIDDEN, HIDDEN, channels, channels, 2];
  const count = sizes.reduce((a, b) => a + b);
  const parameters = Float64Array.from(decoder.decode(new Uint16Array(count).fill(PARAMETER_MODEL)));
  decoder.finish();
  let end = 0;
  const split = sizes.map((size) => parameters.subarray(end, (end += size)));
  const [inputWeight, passBias, scaleWeight, scale, mean, temporalMeanWeight] = split;
  return { inputWeight, passBias, scaleWeight, scale, mean, temporalMeanWeight };
}

/** The size of a channel with its margin. @param {GridSize} size */
const padded = ({ rows, columns }) => {
  const width = columns + 2 * MARGIN;
  return { width, area: width * (rows + 2 * MARGIN) };
};

/**
 * Decode consecutive keys of a latent: [key][channel][row][column] in one array.
 * @param {Uint8Array} data @param {ContextModel} model @param {number} firstChannel of the latent, among all
 * @param {number} keys @param {GridSize} size
 * @returns {Int32Array}
 */
export function readLatent(data, model, firstChannel, keys, size) {
  const decoder = new SymbolDecoder(data);
  const { channels } = size;
  const grids = Array.from({ length: keys }, () => new Int32Array(channels * padded(size).area));
  const zeros = new Int32Array(channels * padded(size).area);
  const passes = CODING_PASSES.map((_, pass) => new PassDecoder(pass, model, firstChannel, size));
  for (const [key, previous, next] of keyCodingOrder(keys))
    for (const pass of passes)
      if (key === 0) pass.decode(decoder, grids[0], zeros, zeros, false);
      else pass.decode(decoder, grids[key], grids[previous], grids[next], true);
  decoder.finish();
  return withoutMargins(grids, size);
}

/** @param {Int32Array[]} grids @param {GridSize} size */
function withoutMargins(grids, size) {
  const { channels, rows, columns } = size;
  const { width, area } = padded(size);
  const integers = new Int32Array(grids.length * channels * rows * columns);
  let end = 0;
  for (const grid of grids)
    for (let channel = 0; channel < channels; channel++)
      for (let row = MARGIN; row < MARGIN + rows; row++, end += columns) {
        const start = channel * area + row * width + MARGIN;
        integers.set(grid.subarray(start, start + columns), end);
      }
  return integers;
}

/** One coding pass over all channels of a key: predict the models of its cells, then decode them. */
class PassDecoder {
  /** @param {number} pass @param {ContextModel} model @param {number} firstChannel @param {GridSize} size */
  constructor(pass, model, firstChannel, size) {
    const { channels, rows, columns } = size;
    const { width, area } = padded(size);
    const { row, column, spacing, near, far } = CODING_PASSES[pass];
    this.near = Int32Array.from(near, ([down, right]) => down * width + right);
    this.far = Int32Array.from(far, ([down, right]) => down * width + right);
    this.model = model;
    this.channels = channels;
    this.firstChannel = firstChannel;
    const { inputWeight, passBias } = model;
    this.intraBias = passBias.slice(pass * HIDDEN, (pass + 1) * HIDDEN).map((value) => 16 * value);
    this.interBias = this.intraBias.map((value, i) => value + 16 * inputWeight[3 * HIDDEN + i]); // with reference keys
    const count = (/** @type {number} */ cells) => Math.ceil(Math.max(0, cells) / spacing);
    this.cells = new Uint32Array(channels * count(rows - row) * count(columns - column));
    let end = 0;
    for (let channel = 0; channel < channels; channel++)
      for (let i = row; i < rows; i += spacing)
        for (let j = column; j < columns; j += spacing) this.cells[end++] = channel * area + (i + MARGIN) * width + j + MARGIN;
  }

  /**
   * @param {SymbolDecoder} decoder @param {Int32Array} grid of the key, decoded in place
   * @param {Int32Array} previous reference key @param {Int32Array} next reference key @param {boolean} inter whether there are any
   */
  decode(decoder, grid, previous, next, inter) {
    const { models, centres } = this.#predict(grid, previous, next, inter);
    const residuals = decoder.decode(models);
    for (let i = 0; i < residuals.length; i++) {
      const value = centres[i] + residuals[i];
      if (Math.abs(value) > MAX_ABS_VALUE) throw new BrokenFile("The file is damaged: an impossible latent.");
      grid[this.cells[i]] = value;
    }
  }

  /**
   * The probability model of each cell, and the integer that it is centred on.
   * @param {Int32Array} grid @param {Int32Array} previous @param {Int32Array} next @param {boolean} inter
   */
  #predict(grid, previous, next, inter) {
    const { near, far, cells, channels } = this;
    const { mean, temporalMeanWeight } = this.model;
    const models = new Uint16Array(cells.length);
    const centres = new Int32Array(cells.length);
    for (let channel = 0, i = 0; channel < channels; channel++) {
      const nearWeight = inter ? temporalMeanWeight[0] : mean[this.firstChannel + channel];
      const modelAmongZeros = modelIndex(this.#scale(channel, inter, 0, 0, 0));
      for (const end = i + cells.length / channels; i < end; i++) {
        const cell = cells[i];
        let nearMagnitude = 0;
        let nearSum = 0;
        for (let n = 0; n < near.length; n++) {
          const value = grid[cell + near[n]];
          nearMagnitude += Math.abs(value);
          nearSum += value;
        }
        let farMagnitude = 0;
        for (let n = 0; n < far.length; n++) farMagnitude += Math.abs(grid[cell + far[n]]);
        const referenceMagnitude = Math.abs(previous[cell]) + Math.abs(next[cell]);
        if (nearMagnitude === 0 && farMagnitude === 0 && referenceMagnitude === 0) {
          models[i] = modelAmongZeros;
          continue;
        }
        const eighths = Math.floor((2 * nearSum * nearWeight + 4 * (previous[cell] + next[cell]) * temporalMeanWeight[1] + 128) / 256);
        const centre = Math.floor((eighths + FRACTIONS / 2) / FRACTIONS);
        const scale = this.#scale(channel, inter, nearMagnitude, farMagnitude, referenceMagnitude);
        models[i] = modelIndex(scale, eighths - FRACTIONS * centre + FRACTIONS / 2);
        centres[i] = centre;
      }
    }
    return { models, centres };
  }

  /** The scale of a cell, from the magnitudes around it: the network with one hidden layer. */
  #scale(
    /** @type {number} */ channel, /** @type {boolean} */ inter,
    /** @type {number} */ near, /** @type {number} */ far, /** @type {number} */ reference,
  ) {
    const { inputWeight, scaleWeight, scale } = this.model;
    const bias = inter ? this.interBias : this.intraBias;
    const a = LOGARITHMS[Math.min(near, MAX_MAGNITUDE_SUM)];
    const b = LOGARITHMS[Math.min(far, MAX_MAGNITUDE_SUM)];
    const c = LOGARITHMS[Math.min(reference, MAX_MAGNITUDE_SUM)];
    let steps = 256 * scale[this.firstChannel + channel];
    for (let i = 0; i < HIDDEN; i++)
      steps += Math.max(0, bias[i] + a * inputWeight[i] + b * inputWeight[HIDDEN + i] + c * inputWeight[2 * HIDDEN + i]) * scaleWeight[i];
    return Math.min(Math.max(Math.floor((steps + 2048) / 4096), 0), SCALES - 1);
  }
}
