/**
 * What a network draws from: samples of its latents, and modulations (nerv360.models, all but `draw`). One class a model;
 * `draw` itself, the convolutions, is network.onnx.
 */

import { multiply, positions, resized, rotation } from "./geometry.js";
import { convolve, enlarged, footprint, sample } from "./sampling.js";

/**
 * @typedef {import("./geometry.js").Viewport} Viewport
 * @typedef {import("./sampling.js").Grid} Grid
 * @typedef {{data: Float32Array, dims: number[]}} Tensor
 * @typedef {{sampled: Tensor[], modulations: Tensor[]}} Inputs
 */

const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);
const tensor = (/** @type {Float32Array} */ data, /** @type {number} */ channels, /** @type {{rows: number, columns: number}} */ { rows, columns }) => ({
  data, dims: [1, channels, rows, columns],
});

/** nerv360-grid: every grid is sampled at its own resolution of the view. */
export class GridInputs {
  /** @param {{strides: number[]}} network */
  constructor({ strides }) {
    this.total = product(strides);
  }

  /** What does not depend on the view. @param {Grid[]} latents */
  features(latents) {
    return latents;
  }

  /**
   * @param {Grid[]} grids @param {number[]} strides of them @param {Viewport} view
   * @param {import("./geometry.js").Matrix | null} camera
   * @returns {Inputs}
   */
  gather(grids, strides, view, camera) {
    const own = rotation(view);
    const turned = camera ? multiply(camera, own) : own;
    /** @type {Map<number, import("./sampling.js").Footprint>} */
    const footprints = new Map();
    const sampled = grids.map((grid, index) => {
      const stride = strides[index];
      let places = footprints.get(stride);
      if (!places) {
        places = footprint(positions(view, turned, stride, this.total, grid.rows, grid.columns), grid.rows, grid.columns);
        footprints.set(stride, places);
      }
      return tensor(sample(grid, places), grid.channels, places);
    });
    return { sampled, modulations: [] };
  }
}

/**
 * nerv360-grid without its network: the picture that the layers `to_rgb` draw beside it. The last stage, which takes two
 * thirds of the time, is left out: the view has so many fewer pixels.
 */
export class GridPreview {
  /** @param {import("./container.js").Network} network @param {import("./chunks.js").Weights} weights */
  constructor({ strides }, weights) {
    this.strides = strides.slice(0, -1);
    this.cell = strides[strides.length - 1];
    this.weights = weights;
    this.inputs = new GridInputs({ strides: this.strides });
  }

  /**
   * @param {Grid[]} grids all but those of the last stage @param {number[]} strides of them @param {Viewport} view
   * @param {import("./geometry.js").Matrix | null} camera
   * @returns {import("./canvas.js").Pixels}
   */
  draw(grids, strides, view, camera) {
    const { width, height, ...looks } = resized(view, 1 / this.cell, 1 / this.cell);
    const here = strides.map((stride) => stride / this.cell);
    const { sampled } = this.inputs.gather(grids, here, { width, height, ...looks }, camera);
    const entering = (/** @type {number} */ stride) => sampled.filter((_, index) => here[index] === stride);
    const { total } = this.inputs;
    const [rows, columns] = [Math.ceil(height / total), Math.ceil(width / total)];
    /** @type {Grid} */
    let picture = { data: new Float32Array(3 * rows * columns), channels: 3, rows, columns };
    this.#add(picture, "to_rgb", entering(total));
    this.strides.forEach((times, i) => {
      picture = enlarged(picture, times);
      this.#add(picture, `stages.${i}.to_rgb`, entering(product(this.strides.slice(i + 1))));
    });
    const size = picture.rows * picture.columns;
    const pixels = new Uint8ClampedArray(3 * size); // which rounds
    for (let k = 0, at = 0; k < size; k++)
      for (let channel = 0; channel < 3; channel++) pixels[at++] = 127.5 * Math.tanh(picture.data[channel * size + k]) + 127.5;
    return { pixels: new Uint8Array(pixels.buffer), rowLength: picture.columns, width, height };
  }

  /** A convolution of 1x1 cells. @param {Grid} picture @param {string} layer @param {Tensor[]} entering channel behind channel */
  #add({ data, channels, rows, columns }, layer, entering) {
    const size = rows * columns;
    const planes = entering.flatMap((tensor) => Array.from({ length: tensor.dims[1] }, (_, i) => tensor.data.subarray(i * size, (i + 1) * size)));
    const weight = this.weights.get(`${layer}.weight`);
    if (!weight) return;
    for (let channel = 0; channel < channels; channel++) {
      const sums = data.subarray(channel * size, (channel + 1) * size);
      planes.forEach((plane, input) => {
        const factor = weight[channel * planes.length + input];
        for (let k = 0; k < size; k++) sums[k] += factor * plane[k];
      });
    }
  }
}

/** nerv360: the embedding is expanded on the panorama (or behind the extraction), and blocks are modulated. */
export class PaperInputs {
  /** @param {import("./container.js").Network} network @param {import("./chunks.js").Weights} weights */
  constructor(network, weights) {
    this.network = network;
    this.weights = weights;
  }

  /** @param {Grid[]} latents @param {number} time @returns {Grid[]} */
  features([embedding], time) {
    if (!this.network.expandFirst) return [embedding];
    const weights = this.weights;
    const [weight, bias] = this.#layer("expand.block.conv");
    const { rows, columns } = embedding;
    const size = rows * columns;
    const width = bias.length;
    const expanded = new Float32Array(width * size);
    for (let output = 0; output < width; output++)
      for (let cell = 0; cell < size; cell++) {
        let value = bias[output];
        for (let input = 0; input < embedding.channels; input++)
          value += weight[output * embedding.channels + input] * embedding.data[input * size + cell];
        expanded[output * size + cell] = Math.sin(value);
      }
    const modulation = this.#expansion(time).data;
    const affine = (/** @type {Float32Array} */ data, /** @type {number} */ half) =>
      data.map((value, at) => {
        const channel = Math.floor(at / size);
        return modulation[2 * half * width + channel] * value + modulation[(2 * half + 1) * width + channel];
      });
    const conv = (/** @type {Float32Array} */ data, /** @type {number} */ half) => {
      const name = `expand.residual.conv${half}`;
      const [kernel, shift] = [weights.get(`${name}.weight`), weights.get(`${name}.bias`)];
      return convolve({ data, channels: width, rows, columns }, /** @type {Float32Array} */ (kernel), /** @type {Float32Array} */ (shift)).data;
    };
    const inner = conv(affine(expanded, 0), 0).map(gelu);
    const outer = conv(affine(inner, 1), 1);
    return [{ data: expanded.map((value, at) => value + outer[at]), channels: width, rows, columns }];
  }

  /** @param {Grid[]} features @param {number[]} strides @param {Viewport} view @param {null} camera @param {number} time @returns {Inputs} */
  gather([features], strides, view, camera, time) {
    const stride = product(this.network.strides);
    const { rows, columns, channels } = features;
    const places = footprint(positions(view, rotation(view), stride, stride, rows, columns), rows, columns);
    const condition = this.#stem("view_stem", [time, ...this.#conditions(view)]);
    const blocks = this.network.strides.map((_, i) => `stages.${i}.residual`);
    const modulations = blocks.filter((name) => this.weights.has(`${name}.conv0.weight`)).map((name) => this.#modulation(name, condition));
    if (!this.network.expandFirst) modulations.unshift(this.#expansion(time));
    return { sampled: [tensor(sample(features, places), channels, places)], modulations };
  }

  #expansion(/** @type {number} */ time) {
    return this.#modulation("expand.residual", this.#stem("time_stem", [time]));
  }

  /** Each in [0, 1]; whole turns make no difference. @param {Viewport} view */
  #conditions({ yawDeg, pitchDeg, rollDeg, hfovDeg }) {
    const turn = (/** @type {number} */ angle) => (((angle / 360 + 0.5) % 1) + 1) % 1;
    const scaled = /** @type {Record<string, number>} */ ({ yaw: turn(yawDeg), pitch: pitchDeg / 180 + 0.5, roll: turn(rollDeg), fov: hfovDeg / 180 });
    return this.network.conditions.map((name) => scaled[name]);
  }

  /** gamma and beta of both transforms of a residual block [4, 1, C, 1, 1]. @param {string} name @param {Float32Array} condition @returns {Tensor} */
  #modulation(name, condition) {
    const rows = [0, 1].flatMap((half) =>
      ["scale", "shift"].map((branch) => {
        const hidden = this.#linear(`${name}.affine${half}.${branch}.0`, condition).map((value) => Math.max(0, value));
        const output = this.#linear(`${name}.affine${half}.${branch}.2`, hidden);
        return branch === "scale" ? output.map((value) => 1 + value) : output;
      }),
    );
    const data = new Float32Array(4 * rows[0].length);
    rows.forEach((row, index) => data.set(row, index * row.length));
    return { data, dims: [4, 1, rows[0].length, 1, 1] };
  }

  /** @param {string} name @param {number[]} values */
  #stem(name, values) {
    const { base, frequencies } = this.network;
    const angles = (/** @type {number} */ value) => Array.from({ length: frequencies }, (_, i) => value * (base ** i * Math.PI));
    const encoded = values.flatMap((value) => [...angles(value).map(Math.sin), ...angles(value).map(Math.cos)]);
    const hidden = this.#linear(`${name}.hidden`, Float32Array.from(encoded)).map(Math.sin);
    return this.#linear(`${name}.output`, hidden).map(Math.sin);
  }

  /** @param {string} name @param {Float32Array} inputs */
  #linear(name, inputs) {
    const [weight, bias] = this.#layer(name);
    return bias.map((value, output) => {
      let total = value;
      for (let i = 0; i < inputs.length; i++) total += weight[output * inputs.length + i] * inputs[i];
      return total;
    });
  }

  /** @param {string} name */
  #layer(name) {
    return /** @type {Float32Array[]} */ ([this.weights.get(`${name}.weight`), this.weights.get(`${name}.bias`)]);
  }
}

const gelu = (/** @type {number} */ x) => (x * (1 + erf(x / Math.SQRT2))) / 2;

/** To 1.5e-7: Abramowitz and Stegun, 7.1.26. @param {number} x */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}
