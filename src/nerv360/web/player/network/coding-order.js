/**
 * The order in which latents are coded (docs/bitstream.md): coding passes over the cells of a grid, from coarse to fine, and
 * the order of the keys of a group. Tested against the Python package.
 */

/**
 * @typedef {{row: number, column: number, spacing: number, near: number[][], far: number[][]}} CodingPass
 *   the cells (row + i spacing, column + j spacing), and the coded neighbours of each as (rows down, columns right)
 */

export const CONTEXT_REACH = 12; // cells: as far as neighbours lie
export const CODING_PASSES = codingPasses();

/** @returns {CodingPass[]} */
function codingPasses() {
  const corners = (/** @type {number} */ down, /** @type {number} */ right) => [[-down, -right], [-down, right], [down, -right], [down, right]];
  const passes = [{ row: 0, column: 0, spacing: 8, near: /** @type {number[][]} */ ([]), far: /** @type {number[][]} */ ([]) }];
  for (const d of [4, 2, 1]) {
    const sides = [[0, -d], [0, d], [-d, 0], [d, 0]];
    passes.push(
      { row: d, column: d, spacing: 2 * d, near: corners(d, d), far: [...corners(3 * d, d), ...corners(d, 3 * d)] },
      { row: 0, column: d, spacing: 2 * d, near: sides, far: [...corners(2 * d, d), ...corners(d, 2 * d)] },
      { row: d, column: 0, spacing: 2 * d, near: sides, far: corners(d, d) },
    );
  }
  return passes;
}

/**
 * The coding order of the keys of a group, hierarchical as B frames are.
 * @param {number} keys
 * @returns {number[][]} each key, with the previous and the next reference key; the first one has none
 */
export function keyCodingOrder(keys) {
  const order = [[0]];
  let step = 1;
  while (2 * step < keys) step *= 2;
  for (; step >= 1; step /= 2)
    for (let key = step; key < keys; key += 2 * step) order.push([key, key - step, key + step < keys ? key + step : key - step]);
  return order;
}
