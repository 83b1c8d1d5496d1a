/** nerv360-grid, all but its convolutions: what `draw` (an ONNX graph) takes, and a preview that needs no network. */

import { gridPositions, multiply, resizeView, rotation } from "../geometry.js";
import { footprint, sample, upsample } from "./sampling.js";
import { product, tensor } from "../network/tensors.js";

/**
 * @typedef {import("../geometry.js").Viewport} Viewport
 * @typedef {import("../geometry.js").Matrix} Matrix
 * @typedef {import("./sampling.js").Footprint} Footprint
 * @typedef {import("./sampling.js").Grid} Grid
 * @typedef {import("../network/tensors.js").FrameLatent} FrameLatent
 * @typedef {import("../network/tensors.js").Inputs} Inputs
 * @typedef {import("../network/tensors.js").Tensor} Tensor
 * @typedef {ReturnType<typeof gridPositions>} Positions
 * @typedef {{positions: Positions, footprint: Footprint}} Projection of a view onto grids of one size
 */

const MOTION_UNIT = 1 / 48; // cells of the motion field per frame
const MAX_DISPLACEMENT = 1; // cells of the motion field

/** Motion-compensated, interpolated samples of the latent grids, each at its own resolution of the view. */
export class GridInputs {
  /** @param {{strides: number[]}} network */
  constructor({ strides }) {
    this.totalStride = product(strides);
  }

  /** What does not depend on the view. @param {FrameLatent[]} latents */
  features(latents) {
    return latents;
  }

  /** @param {FrameLatent[]} grids @param {Viewport} view @param {Matrix | null} camera rotation, where it turns @returns {Inputs} */
  gather(grids, view, camera) {
    const project = this.#projector(view, camera ? multiply(camera, rotation(view)) : rotation(view));
    const field = grids.find(({ motion }) => motion);
    const motion = field ? this.#interpolate(field, project(field), null) : null;
    const content = grids.filter((grid) => !grid.motion);
    return { sampled: content.map((grid) => this.#interpolate(grid, project(grid), motion)), modulations: [] };
  }

  /** Projects the view onto grids, once for each stride. @param {Viewport} view @param {Matrix} camera */
  #projector(view, camera) {
    /** @type {Map<number, Projection>} */
    const projections = new Map();
    return (/** @type {FrameLatent} */ { stride, rows, columns }) => {
      const known = projections.get(stride);
      if (known) return known;
      const positions = gridPositions(view, camera, stride, this.totalStride, rows, columns);
      const projection = { positions, footprint: footprint(positions, rows, columns) };
      projections.set(stride, projection);
      return projection;
    };
  }

  /**
   * The samples of a grid: its keys, motion-compensated and weighted.
   * @param {FrameLatent} grid @param {Projection} projection @param {Tensor | null} motion field, sampled
   */
  #interpolate(grid, { positions, footprint: unmoved }, motion) {
    const [first, second] = grid.keys.map(({ data, weight, distance }) => {
      const moved = motion && distance ? footprint(this.#displace(positions, motion, distance, grid), grid.rows, grid.columns) : unmoved;
      return { weight, samples: sample({ ...grid, data }, moved) };
    });
    const data = second
      ? first.samples.map((value, i) => first.weight * value + second.weight * second.samples[i])
      : first.samples;
    return tensor(data, grid.channels, positions);
  }

  /**
   * Motion compensation: where a key is read for samples at these positions.
   * @param {Positions} positions @param {Tensor} motion field, sampled @param {number} distance frames since the key
   * @param {FrameLatent} grid
   */
  #displace({ x, y, rows, columns }, motion, distance, { stride }) {
    const scale = this.totalStride / stride;
    const limit = (/** @type {number} */ cells) => Math.min(MAX_DISPLACEMENT, Math.max(-MAX_DISPLACEMENT, cells));
    const half = motion.data.length / 2;
    const data = motion.data.subarray(0, half).map((steady, k) => {
      const change = motion.data[half + k];
      return scale * limit(MOTION_UNIT * distance * (distance > 0 ? steady + change : steady - change));
    });
    const displacement = upsample({ data, channels: 2, rows: motion.dims[2], columns: motion.dims[3] }, scale).data;
    return { x: x.map((at, k) => at - displacement[k]), y: y.map((at, k) => at - displacement[x.length + k]), rows, columns };
  }
}

/**
 * The picture without the network: what the layers `to_rgb` draw beside it. The last stage, which takes two thirds of the
 * time, is left out: the preview has so many fewer pixels.
 */
export class GridPreview {
  /** @param {import("../segments.js").NetworkHeader} network @param {import("../network/chunks.js").Weights} weights */
  constructor({ strides }, weights) {
    this.strides = strides.slice(0, -1);
    this.lastStride = strides[strides.length - 1];
    this.weights = weights;
    this.inputs = new GridInputs({ strides: this.strides });
  }

  /**
   * @param {FrameLatent[]} grids all but those of the last stage @param {Viewport} view @param {Matrix | null} camera
   * @returns {import("../canvas.js").Pixels}
   */
  draw(grids, view, camera) {
    const small = resizeView(view, 1 / this.lastStride);
    const coarse = grids.map((grid) => ({ ...grid, stride: grid.stride / this.lastStride }));
    const { sampled } = this.inputs.gather(coarse, small, camera);
    const content = coarse.filter(({ motion }) => !motion);
    const entering = (/** @type {number} */ stride) => sampled.filter((_, index) => content[index].stride === stride);
    const { totalStride } = this.inputs;
    const [rows, columns] = [Math.ceil(small.height / totalStride), Math.ceil(small.width / totalStride)];
    /** @type {Grid} */
    let picture = { data: new Float32Array(3 * rows * columns), channels: 3, rows, columns };
    this.#addProjection(picture, "to_rgb", entering(totalStride));
    this.strides.forEach((stride, i) => {
      picture = upsample(picture, stride);
      this.#addProjection(picture, `stages.${i}.to_rgb`, entering(product(this.strides.slice(i + 1))));
    });
    return { pixels: toPixels(picture), rowLength: picture.columns, width: small.width, height: small.height };
  }

  /** Add a 1x1 convolution of samples. @param {Grid} picture @param {string} layer @param {Tensor[]} entering all their channels */
  #addProjection({ data, channels, rows, columns }, layer, entering) {
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

/** 8-bit pixels, channels last. @param {Grid} picture */
function toPixels({ data, rows, columns }) {
  const size = rows * columns;
  const pixels = new Uint8ClampedArray(3 * size); // which rounds
  for (let k = 0, at = 0; k < size; k++)
    for (let channel = 0; channel < 3; channel++) pixels[at++] = 127.5 * Math.tanh(data[channel * size + k]) + 127.5;
  return new Uint8Array(pixels.buffer);
}
