/** nerv360, the paper's network, all but the convolutions of its stages: what `draw` (an ONNX graph) takes. */

import { gridPositions, rotation } from "../geometry.js";
import { convolve, footprint, sample } from "./sampling.js";
import { product, tensor } from "../network/tensors.js";

/**
 * @typedef {import("../geometry.js").Viewport} Viewport
 * @typedef {import("./sampling.js").Grid} Grid
 * @typedef {import("../network/tensors.js").FrameLatent} FrameLatent
 * @typedef {import("../network/tensors.js").Inputs} Inputs
 * @typedef {import("../network/tensors.js").Tensor} Tensor
 */

/** The embedding, expanded on the panorama (or after the extraction) and sampled, and the modulations of the blocks. */
export class PaperInputs {
  /** @param {import("../segments.js").NetworkHeader} network @param {import("../network/chunks.js").Weights} weights */
  constructor(network, weights) {
    this.network = network;
    this.weights = weights;
  }

  /** What does not depend on the view: the embedding, expanded. @param {FrameLatent[]} latents @param {number} time @returns {FrameLatent[]} */
  features([embedding], time) {
    if (!this.network.expandFirst) return [embedding];
    const expanded = this.#expand(embedding);
    const [gamma0, beta0, gamma1, beta1] = rowsOf(this.#expansionModulation(time));
    const inner = this.#convolve("expand.residual.conv0", affine(expanded, gamma0, beta0));
    const outer = this.#convolve("expand.residual.conv1", affine({ ...inner, data: inner.data.map(gelu) }, gamma1, beta1));
    const data = expanded.data.map((value, at) => value + outer.data[at]);
    return [{ ...embedding, channels: expanded.channels, keys: [{ data, weight: 1, distance: 0 }] }];
  }

  /** @param {FrameLatent[]} features @param {Viewport} view @param {null} camera @param {number} time @returns {Inputs} */
  gather([features], view, camera, time) {
    const stride = product(this.network.strides);
    const { rows, columns, channels } = features;
    const cells = footprint(gridPositions(view, rotation(view), stride, stride, rows, columns), rows, columns);
    const condition = this.#stem("view_stem", [time, ...this.#conditions(view)]);
    const blocks = this.network.strides.map((_, i) => `stages.${i}.residual`);
    const modulations = blocks.filter((name) => this.weights.has(`${name}.conv0.weight`)).map((name) => this.#modulation(name, condition));
    if (!this.network.expandFirst) modulations.unshift(this.#expansionModulation(time));
    return { sampled: [tensor(sample({ ...features, data: features.keys[0].data }, cells), channels, cells)], modulations };
  }

  /** A 1x1 convolution of the embedding, and a sine. @param {FrameLatent} embedding with a key at every frame @returns {Grid} */
  #expand({ keys: [{ data: cells }], channels, rows, columns }) {
    const [weight, bias] = this.#layer("expand.block.conv");
    const size = rows * columns;
    const data = new Float32Array(bias.length * size);
    for (let output = 0; output < bias.length; output++)
      for (let cell = 0; cell < size; cell++) {
        let value = bias[output];
        for (let input = 0; input < channels; input++) value += weight[output * channels + input] * cells[input * size + cell];
        data[output * size + cell] = Math.sin(value);
      }
    return { data, channels: bias.length, rows, columns };
  }

  /** @param {string} name @param {Grid} grid */
  #convolve(name, grid) {
    const [weight, bias] = this.#layer(name);
    return convolve(grid, weight, bias);
  }

  #expansionModulation(/** @type {number} */ time) {
    return this.#modulation("expand.residual", this.#stem("time_stem", [time]));
  }

  /** The conditions of the view, each in [0, 1]; whole turns make no difference. @param {Viewport} view */
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

  /** Positional encoding and a network with one hidden layer. @param {string} name @param {number[]} values */
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

/** gamma * x + beta, by channel. @param {Grid} grid @param {Float32Array} gamma @param {Float32Array} beta @returns {Grid} */
function affine(grid, gamma, beta) {
  const size = grid.rows * grid.columns;
  const data = grid.data.map((value, at) => gamma[Math.floor(at / size)] * value + beta[Math.floor(at / size)]);
  return { ...grid, data };
}

/** @param {Tensor} modulation [4, 1, C, 1, 1] */
const rowsOf = ({ data, dims }) => [0, 1, 2, 3].map((row) => data.subarray(row * dims[2], (row + 1) * dims[2]));

const gelu = (/** @type {number} */ x) => (x * (1 + erf(x / Math.SQRT2))) / 2;

/** To 1.5e-7: Abramowitz and Stegun, 7.1.26. @param {number} x */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}
