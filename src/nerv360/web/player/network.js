/**
 * What a network draws from: samples of its latents, and modulations (nerv360.models, all but `draw`). One class a model;
 * `draw` itself, the convolutions, is network.onnx.
 */

import { multiply, positions, resizeView, rotation } from "./geometry.js";
import { convolve, enlarged, footprint, sample } from "./sampling.js";

/**
 * @typedef {import("./geometry.js").Viewport} Viewport
 * @typedef {import("./sampling.js").Footprint} Footprint
 * @typedef {import("./sampling.js").Grid} Grid
 * @typedef {ReturnType<typeof positions>} Positions
 * @typedef {{stride: number, motion: boolean, channels: number, rows: number, columns: number,
 *   keys: {data: Float32Array, weight: number, frames: number}[]}} Keyed a latent around a frame; frames: since the key
 * @typedef {{data: Float32Array, dims: number[]}} Tensor
 * @typedef {{sampled: Tensor[], modulations: Tensor[]}} Inputs
 */

const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);
const tensor = (/** @type {Float32Array} */ data, /** @type {number} */ channels, /** @type {{rows: number, columns: number}} */ { rows, columns }) => ({
  data, dims: [1, channels, rows, columns],
});

const MOTION_UNIT = 1 / 48; // of a cell of the motion per frame
const MOST_MOTION = 1; // cells of the motion that a key is moved by at most

/** nerv360-grid: the keys of every grid are moved to the frame, and sampled at the grid's own resolution of the view. */
export class GridInputs {
  /** @param {{strides: number[]}} network */
  constructor({ strides }) {
    this.total = product(strides);
  }

  /** What does not depend on the view. @param {Keyed[]} latents */
  features(latents) {
    return latents;
  }

  /**
   * @param {Keyed[]} grids @param {Viewport} view @param {import("./geometry.js").Matrix | null} camera
   * @returns {Inputs}
   */
  gather(grids, view, camera) {
    const own = rotation(view);
    const turned = camera ? multiply(camera, own) : own;
    /** @type {Map<number, {places: Positions, footprint: Footprint}>} */
    const read = new Map();
    const placed = (/** @type {Keyed} */ { stride, rows, columns }) => {
      const known = read.get(stride);
      if (known) return known;
      const places = positions(view, turned, stride, this.total, rows, columns);
      const made = { places, footprint: footprint(places, rows, columns) };
      read.set(stride, made);
      return made;
    };
    const mixed = (/** @type {Keyed} */ grid, /** @type {Tensor | null} */ motion) => {
      const { places, footprint: still } = placed(grid);
      const parts = grid.keys.map(({ data, weight, frames }) => {
        const moved = motion && frames ? footprint(this.#moved(places, motion, frames, grid), grid.rows, grid.columns) : still;
        return { weight, samples: sample({ ...grid, data }, moved) };
      });
      const [first, second] = parts;
      const data = second
        ? first.samples.map((value, i) => first.weight * value + second.weight * second.samples[i])
        : first.samples;
      return tensor(data, grid.channels, places);
    };
    const moving = grids.find(({ motion }) => motion);
    const motion = moving ? mixed(moving, null) : null;
    return { sampled: grids.filter((grid) => !grid.motion).map((grid) => mixed(grid, motion)), modulations: [] };
  }

  /**
   * Where a key is read for samples at these places.
   * @param {Positions} places @param {Tensor} motion @param {number} frames since the key @param {Keyed} grid
   */
  #moved({ x, y, rows, columns }, motion, frames, { stride }) {
    const times = this.total / stride;
    const limited = (/** @type {number} */ cells) => Math.min(MOST_MOTION, Math.max(-MOST_MOTION, cells));
    const half = motion.data.length / 2;
    const data = motion.data.subarray(0, half).map((steady, k) => {
      const change = motion.data[half + k];
      return times * limited(MOTION_UNIT * frames * (frames > 0 ? steady + change : steady - change));
    });
    const moved = enlarged({ data, channels: 2, rows: motion.dims[2], columns: motion.dims[3] }, times).data;
    return { x: x.map((at, k) => at - moved[k]), y: y.map((at, k) => at - moved[x.length + k]), rows, columns };
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
   * @param {Keyed[]} grids all but those of the last stage @param {Viewport} view
   * @param {import("./geometry.js").Matrix | null} camera
   * @returns {import("./canvas.js").Pixels}
   */
  draw(grids, view, camera) {
    const { width, height, ...looks } = resizeView(view, 1 / this.cell);
    const here = grids.map((grid) => ({ ...grid, stride: grid.stride / this.cell }));
    const { sampled } = this.inputs.gather(here, { width, height, ...looks }, camera);
    const drawn = here.filter(({ motion }) => !motion);
    const entering = (/** @type {number} */ stride) => sampled.filter((_, index) => drawn[index].stride === stride);
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

  /** @param {Keyed[]} latents @param {number} time @returns {Keyed[]} */
  features([embedding], time) {
    if (!this.network.expandFirst) return [embedding];
    const [{ data: cells }] = embedding.keys; // there is one for every frame
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
          value += weight[output * embedding.channels + input] * cells[input * size + cell];
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
    const data = expanded.map((value, at) => value + outer[at]);
    return [{ ...embedding, channels: width, keys: [{ data, weight: 1, frames: 0 }] }];
  }

  /** @param {Keyed[]} features @param {Viewport} view @param {null} camera @param {number} time @returns {Inputs} */
  gather([features], view, camera, time) {
    const stride = product(this.network.strides);
    const { rows, columns, channels } = features;
    const places = footprint(positions(view, rotation(view), stride, stride, rows, columns), rows, columns);
    const condition = this.#stem("view_stem", [time, ...this.#conditions(view)]);
    const blocks = this.network.strides.map((_, i) => `stages.${i}.residual`);
    const modulations = blocks.filter((name) => this.weights.has(`${name}.conv0.weight`)).map((name) => this.#modulation(name, condition));
    if (!this.network.expandFirst) modulations.unshift(this.#expansion(time));
    return { sampled: [tensor(sample({ ...features, data: features.keys[0].data }, places), channels, places)], modulations };
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
