/** Bilinear samples of grids on the panorama, across the seam and over the poles. */

import { wrapCell } from "../geometry.js";

/** @typedef {{data: Float32Array, channels: number, rows: number, columns: number}} Grid [channel][row][column] */
/** @typedef {{cells: Int32Array, weights: Float32Array, rows: number, columns: number}} Footprint four neighbours a sample */

/**
 * The footprint of a view on a grid: the cells of each bilinear sample, and their weights.
 * @param {{x: Float64Array, y: Float64Array, rows: number, columns: number}} positions in cells
 * @param {number} rows @param {number} columns of the grid
 * @returns {Footprint}
 */
export function footprint(positions, rows, columns) {
  const count = positions.x.length;
  const cells = new Int32Array(4 * count);
  const weights = new Float32Array(4 * count);
  for (let k = 0, at = 0; k < count; k++, at += 4) {
    const column = Math.floor(positions.x[k] - 0.5);
    const row = Math.floor(positions.y[k] - 0.5);
    const a = positions.x[k] - 0.5 - column;
    const b = positions.y[k] - 0.5 - row;
    if (row >= 0 && row + 1 < rows && column >= 0 && column + 1 < columns) {
      const first = row * columns + column;
      cells[at] = first;
      cells[at + 1] = first + 1;
      cells[at + 2] = first + columns;
      cells[at + 3] = first + columns + 1;
    } else {
      cells[at] = wrapCell(row, column, rows, columns);
      cells[at + 1] = wrapCell(row, column + 1, rows, columns);
      cells[at + 2] = wrapCell(row + 1, column, rows, columns);
      cells[at + 3] = wrapCell(row + 1, column + 1, rows, columns);
    }
    weights[at] = (1 - a) * (1 - b);
    weights[at + 1] = a * (1 - b);
    weights[at + 2] = (1 - a) * b;
    weights[at + 3] = a * b;
  }
  return { cells, weights, rows: positions.rows, columns: positions.columns };
}

/** Sample a grid bilinearly. @param {Grid} grid @param {Footprint} footprint @returns {Float32Array} [channel][row][column] of the view */
export function sample(grid, { cells, weights, rows, columns }) {
  const count = rows * columns;
  const size = grid.rows * grid.columns;
  const samples = new Float32Array(grid.channels * count);
  for (let channel = 0; channel < grid.channels; channel++) {
    const plane = grid.data.subarray(channel * size, (channel + 1) * size);
    const to = channel * count;
    for (let k = 0, at = 0; k < count; k++, at += 4)
      samples[to + k] =
        weights[at] * plane[cells[at]] + weights[at + 1] * plane[cells[at + 1]] +
        weights[at + 2] * plane[cells[at + 2]] + weights[at + 3] * plane[cells[at + 3]];
  }
  return samples;
}

/** Upsample a grid bilinearly; cells at its edge are repeated. @param {Grid} grid @param {number} factor @returns {Grid} */
export function upsample(grid, factor) {
  const taps = (/** @type {number} */ cells) =>
    Array.from({ length: cells * factor }, (_, i) => {
      const position = Math.min(Math.max((i + 0.5) / factor - 0.5, 0), cells - 1);
      const near = Math.floor(position);
      return { near, far: Math.min(near + 1, cells - 1), share: position - near };
    });
  const [down, across] = [taps(grid.rows), taps(grid.columns)];
  const data = new Float32Array(grid.channels * down.length * across.length);
  const line = new Float32Array(grid.columns);
  let to = 0;
  for (let channel = 0; channel < grid.channels; channel++)
    for (const { near, far, share } of down) {
      const [above, below] = [near, far].map((row) => (channel * grid.rows + row) * grid.columns);
      for (let q = 0; q < line.length; q++) line[q] = (1 - share) * grid.data[above + q] + share * grid.data[below + q];
      for (const { near, far, share } of across) data[to++] = (1 - share) * line[near] + share * line[far];
    }
  return { data, channels: grid.channels, rows: down.length, columns: across.length };
}

/**
 * A 3x3 convolution on the panorama: neighbours lie across the seam and the poles too.
 * @param {Grid} grid @param {Float32Array} weight [output][input][3][3] @param {Float32Array} bias
 * @returns {Grid}
 */
export function convolve(grid, weight, bias) {
  const { rows, columns, channels } = grid;
  const width = columns + 2;
  const size = rows * columns;
  const padded = new Float32Array(channels * (rows + 2) * width);
  for (let row = -1, at = 0; row <= rows; row++)
    for (let column = -1; column <= columns; column++, at++)
      for (let channel = 0; channel < channels; channel++)
        padded[channel * (rows + 2) * width + at] = grid.data[channel * size + wrapCell(row, column, rows, columns)];
  const data = new Float32Array(bias.length * size);
  for (let output = 0; output < bias.length; output++) {
    const sums = data.subarray(output * size, (output + 1) * size).fill(bias[output]);
    for (let input = 0; input < channels; input++) {
      const plane = padded.subarray(input * (rows + 2) * width, (input + 1) * (rows + 2) * width);
      const [a, b, c, d, e, f, g, h, i] = weight.subarray(9 * (output * channels + input));
      for (let row = 0; row < rows; row++) {
        let above = row * width;
        let to = row * columns;
        for (let column = 0; column < columns; column++, above++, to++) {
          const here = above + width;
          const below = here + width;
          sums[to] +=
            a * plane[above] + b * plane[above + 1] + c * plane[above + 2] +
            d * plane[here] + e * plane[here + 1] + f * plane[here + 2] +
            g * plane[below] + h * plane[below + 1] + i * plane[below + 2];
        }
      }
    }
  }
  return { data, channels: bias.length, rows, columns };
}
