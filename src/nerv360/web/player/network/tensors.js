/** What a network's `draw` takes: samples of latents, and modulations. */

/**
 * @typedef {{stride: number, motion: boolean, channels: number, rows: number, columns: number,
 *   keys: {data: Float32Array, weight: number, distance: number}[]}} FrameLatent a latent around a frame; distance: frames
 *   since the key
 * @typedef {{data: Float32Array, dims: number[]}} Tensor
 * @typedef {{sampled: Tensor[], modulations: Tensor[]}} Inputs
 */

export const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);

/** @param {Float32Array} data @param {number} channels @param {{rows: number, columns: number}} size @returns {Tensor} */
export const tensor = (data, channels, { rows, columns }) => ({ data, dims: [1, channels, rows, columns] });
