/** The network of nerv360-grid as passes of grid.glsl, and what each is compiled with. */

import { product } from "../network/tensors.js";

/**
 * @typedef {import("../segments.js").NetworkSegment} NetworkSegment
 * @typedef {import("../network/chunks.js").Weights} Weights
 * @typedef {{defines: Record<string, number | string>}} Pass
 * @typedef {Pass & {cell: number, features: number, moving: boolean, layers: {latent: number, layer: number}[]}} StagePass cell:
 *   pixels of the view to one of the pass; features: texels a pixel; layers: of latents that enter
 * @typedef {Pass & {targets: number}} ConvolutionPass targets: texels of a block that it draws at once
 * @typedef {{stride: number, convolutions: ConvolutionPass[], entering: StagePass}} Stage
 * @typedef {{totalStride: number, motion: (Pass & {latent: number}) | null, first: StagePass, stages: Stage[], head: Pass}} Passes
 *   motion: reads the latent that is the motion field
 * @typedef {(output: number, input?: number, tap?: number) => number} Tensor 0 beyond its ends
 */

const MAX_TARGETS = 4; // that every graphics processor draws at once

/** Texels, of four channels each. */
export const texelsOf = (/** @type {number} */ channels) => Math.ceil(channels / 4);

/** @param {NetworkSegment} segment @param {Weights} weights @returns {Passes} */
export function passesOf({ network, latents }, weights) {
  const { strides, kernels, channels } = network;
  const totalStride = product(strides);
  const motion = latents.findIndex((latent) => latent.motion);

  /** @param {number} cell @param {number} outputs @param {number} stride before @param {string[]} names to features, to the picture @returns {StagePass} */
  const stagePass = (cell, outputs, stride, names) => {
    const grids = latents.flatMap((latent, index) => (latent.stride === cell && !latent.motion ? [index] : []));
    const layers = grids.flatMap((latent) => range(texelsOf(latents[latent].channels)).map((layer) => ({ latent, layer })));
    const bias = tensorOf(weights, `${names[0]}.bias`, outputs, 1);
    const moving = motion >= 0 && grids.some((index) => latents[index].keyInterval > 0);
    const defines = {
      STAGE: 1, FEATURES: texelsOf(outputs), LAYERS: layers.length, ...(stride ? { STRIDE: stride } : {}),
      ...(moving ? { MOVING: 1, CELL: totalStride / cell } : {}),
      WEIGHTS: matrices(enteringMatrices(weights, names, outputs, grids.map((index) => latents[index].channels))),
      BIAS: vectors(range(4 * texelsOf(outputs)).map((output) => bias(output))),
    };
    return { defines, cell, features: texelsOf(outputs), moving, layers };
  };

  const [head] = convolutionPasses(weights, "head", channels[channels.length - 1], 3, 3, 1);
  const { CONVOLUTION, ...others } = head.defines;
  return {
    totalStride,
    motion: motion < 0 ? null : { defines: { MOTION: 1 }, latent: motion },
    first: stagePass(totalStride, channels[0], 0, ["expand", "to_rgb"]),
    stages: strides.map((stride, i) => ({
      stride,
      convolutions: convolutionPasses(weights, `stages.${i}.conv`, channels[i], channels[i + 1], kernels[i], stride),
      entering: stagePass(product(strides.slice(i + 1)), channels[i + 1], stride, [`stages.${i}.project`, `stages.${i}.to_rgb`]),
    })),
    head: { defines: { HEAD: CONVOLUTION, ...others } },
  };
}

/** In the order in which they are drawn. @param {Passes} passes @returns {Pass[]} */
export const allPasses = ({ motion, first, stages, head }) =>
  [...(motion ? [motion] : []), first, ...stages.flatMap(({ convolutions, entering }) => [...convolutions, entering]), head];

/**
 * The passes of a convolution to all phases of a block of stride x stride pixels, which draw as many texels at once as can be.
 * @param {Weights} weights @param {string} name @param {number} inputs @param {number} outputs @param {number} kernel
 * @param {number} stride @returns {ConvolutionPass[]}
 */
function convolutionPasses(weights, name, inputs, outputs, kernel, stride) {
  const [phases, taps, features] = [stride * stride, kernel * kernel, texelsOf(inputs)];
  const weight = tensorOf(weights, `${name}.weight`, outputs * phases, inputs, taps);
  const bias = tensorOf(weights, `${name}.bias`, outputs * phases, 1);
  const all = range(phases).flatMap((phase) => range(texelsOf(outputs)).map((texel) =>
    /** Of a row of the texel, the output channel that pixel_shuffle brings to this phase. */
    (/** @type {number} */ row) => (4 * texel + row < outputs ? (4 * texel + row) * phases + phase : Infinity)));
  const passes = [];
  for (let first = 0; first < all.length; first += MAX_TARGETS) {
    const channels = all.slice(first, first + MAX_TARGETS);
    const values = range(taps).flatMap((tap) => range(features).flatMap((texel) => channels.flatMap((channel) =>
      matrix((row, column) => weight(channel(row), 4 * texel + column, tap)))));
    const biases = channels.flatMap((channel) => range(4).map((row) => bias(channel(row))));
    passes.push({
      defines: { CONVOLUTION: 1, KERNEL: kernel, FEATURES: features, TARGETS: channels.length, WEIGHTS: matrices(values), BIAS: vectors(biases) },
      targets: channels.length,
    });
  }
  return passes;
}

/**
 * Of every texel of every grid, one behind the other, the matrices to features and to the picture.
 * @param {Weights} weights @param {string[]} names @param {number} outputs @param {number[]} counts channels of the grids
 */
function enteringMatrices(weights, [project, toRgb], outputs, counts) {
  const inputs = counts.reduce((sum, count) => sum + count, 0);
  const features = tensorOf(weights, `${project}.weight`, outputs, inputs);
  const picture = tensorOf(weights, `${toRgb}.weight`, 3, inputs);
  let start = 0; // of the grid's channels
  return counts.flatMap((count) => {
    const first = start;
    start += count;
    return range(texelsOf(count)).flatMap((texel) => {
      const to = (/** @type {Tensor} */ tensor, /** @type {number} */ firstRow) => matrix((row, column) =>
        4 * texel + column < count ? tensor(firstRow + row, first + 4 * texel + column) : 0);
      return [...range(texelsOf(outputs)).flatMap((out) => to(features, 4 * out)), ...to(picture, 0)];
    });
  });
}

const range = (/** @type {number} */ count) => Array.from({ length: count }, (_, i) => i);

/** Its numbers, column by column. @param {(row: number, column: number) => number} value */
const matrix = (value) => range(16).map((i) => value(i % 4, Math.floor(i / 4)));

/** As GLSL writes arrays of them, which it gives no length 0. @param {number[]} values */
const matrices = (values) => arrayOf("mat4", 16, values);
const vectors = (/** @type {number[]} */ values) => arrayOf("vec4", 4, values);

/** @param {string} type @param {number} size @param {number[]} values */
function arrayOf(type, size, values) {
  const items = range(values.length / size).map((i) => `${type}(${values.slice(size * i, size * (i + 1)).map((value) => value.toExponential(8)).join()})`);
  return `${type}[](${items.join()})`;
}

/** @param {Weights} weights @param {string} name @param {number} outputs @param {number} inputs @param {number} taps @returns {Tensor} */
function tensorOf(weights, name, outputs, inputs, taps = 1) {
  const data = weights.get(name) ?? [];
  return (output, input = 0, tap = 0) => (output < outputs && input < inputs ? data[(output * inputs + input) * taps + tap] ?? 0 : 0);
}
