/**
 * Angles, rays and positions on the panorama (docs/conventions.md). Public angles are degrees; axes are x right, y up,
 * z forward. Matrices are 3x3, row by row. Tested against the Python package.
 */

/** @typedef {{yawDeg: number, pitchDeg: number, rollDeg: number}} Angles */
/** @typedef {Angles & {hfovDeg: number, vfovDeg: number, width: number, height: number}} Viewport */
/** @typedef {number[]} Matrix */

const DEGREE = Math.PI / 180;
const HALF_UP = 1e-6; // halves are rounded up, and what misses one by the arithmetic

/** @param {Matrix} a @param {Matrix} b @returns {Matrix} */
export function multiply(a, b) {
  const product = [];
  for (let i = 0; i < 9; i += 3)
    for (let j = 0; j < 3; j++) product.push(a[i] * b[j] + a[i + 1] * b[j + 3] + a[i + 2] * b[j + 6]);
  return product;
}

/** @param {Matrix} m @returns {Matrix} */
export const transpose = (m) => [m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]];

/** Camera-to-world rotation: roll first, then pitch, then yaw. @param {Angles} angles @returns {Matrix} */
export function rotation({ yawDeg, pitchDeg, rollDeg }) {
  const [sy, cy, sp, cp, sr, cr] = [yawDeg, pitchDeg, rollDeg].flatMap((a) => [Math.sin(a * DEGREE), Math.cos(a * DEGREE)]);
  const roll = [cr, sr, 0, -sr, cr, 0, 0, 0, 1];
  const pitch = [1, 0, 0, 0, cp, sp, 0, -sp, cp];
  const yaw = [cy, 0, sy, 0, 1, 0, -sy, 0, cy];
  return multiply(yaw, multiply(pitch, roll));
}

/** Inverse of `rotation`. @param {Matrix} m @returns {Angles} */
export function rotationAngles(m) {
  const yaw = Math.atan2(m[2], m[8]);
  const pitch = Math.atan2(m[5], Math.hypot(m[2], m[8]));
  const rest = multiply(transpose(rotation({ yawDeg: yaw / DEGREE, pitchDeg: pitch / DEGREE, rollDeg: 0 })), m);
  return { yawDeg: yaw / DEGREE, pitchDeg: pitch / DEGREE, rollDeg: Math.atan2(rest[1], rest[0]) / DEGREE };
}

/** Focal lengths in pixels; the field of view spans the outer edges. @param {Viewport} view */
export function focal(view) {
  return {
    fx: view.width / 2 / Math.tan((view.hfovDeg * DEGREE) / 2),
    fy: view.height / 2 / Math.tan((view.vfovDeg * DEGREE) / 2),
  };
}

/**
 * Where a direction is seen in a view: pixels from its top left corner, which may lie outside; null behind the camera.
 * @param {Viewport} view @param {number} yawDeg @param {number} pitchDeg
 */
export function project(view, yawDeg, pitchDeg) {
  const turned = multiply(transpose(rotation(view)), rotation({ yawDeg, pitchDeg, rollDeg: 0 }));
  const [right, up, depth] = [turned[2], turned[5], turned[8]];
  const { fx, fy } = focal(view);
  return depth > 0 ? { x: view.width / 2 + (fx * right) / depth, y: view.height / 2 - (fy * up) / depth } : null;
}

/** The field of view across a side that is `ratio` times as long, with square pixels. */
export const fovAcross = (/** @type {number} */ fovDeg, /** @type {number} */ ratio) =>
  (2 * Math.atan(Math.tan((fovDeg * DEGREE) / 2) * ratio)) / DEGREE;

/**
 * Positions on a grid, in cells, of the centres of blocks of cell x cell pixels of a view. Blocks begin at the top left corner
 * and cover a multiple of `whole` pixels.
 * @param {Viewport} view @param {Matrix} camera camera-to-world, of the view in its world
 * @param {number} cell @param {number} whole a multiple of the cell
 * @param {number} gridRows @param {number} gridColumns
 */
export function gridPositions(view, camera, cell, whole, gridRows, gridColumns) {
  const { fx, fy } = focal(view);
  const rows = (Math.ceil(view.height / whole) * whole) / cell;
  const columns = (Math.ceil(view.width / whole) * whole) / cell;
  const x = new Float64Array(rows * columns);
  const y = new Float64Array(rows * columns);
  const [a, b, c, d, e, f, g, h, i] = camera;
  let at = 0;
  for (let r = 0; r < rows; r++) {
    const v = -((r + 0.5) * cell - view.height / 2) / fy;
    for (let q = 0; q < columns; q++, at++) {
      const u = ((q + 0.5) * cell - view.width / 2) / fx;
      const right = a * u + b * v + c;
      const up = d * u + e * v + f;
      const forward = g * u + h * v + i;
      const longitude = Math.atan2(right, forward);
      const latitude = Math.atan2(up, Math.sqrt(right * right + forward * forward));
      x[at] = (longitude / (2 * Math.PI) + 0.5) * gridColumns;
      y[at] = (0.5 - latitude / Math.PI) * gridRows;
    }
  }
  return { x, y, rows, columns };
}

/**
 * The index of a cell, which may lie beyond the edges: columns wrap, and across a pole the grid continues half a turn away.
 * @param {number} row @param {number} column @param {number} rows @param {number} columns an even number
 */
export function wrapCell(row, column, rows, columns) {
  let r = row % (2 * rows);
  if (r < 0) r += 2 * rows;
  let q = column;
  if (r >= rows) {
    r = 2 * rows - 1 - r;
    q += columns / 2;
  }
  q %= columns;
  return r * columns + (q < 0 ? q + columns : q);
}

/**
 * A view at the resolution that the network draws best: at the nearest focal length that it was trained for. Differences of
 * up to 15 % are left alone.
 * @param {Viewport} view @param {{width: number, hfovDeg: [number, number] | number[]}} trained
 * @returns {Viewport}
 */
export function nativeView(view, trained) {
  const [shortest, longest] = [trained.hfovDeg[1], trained.hfovDeg[0]].map(
    (fov) => trained.width / 2 / Math.tan((fov * DEGREE) / 2),
  );
  const { fx, fy } = focal(view);
  const scale = (/** @type {number} */ length) => {
    const nearest = Math.min(Math.max(length, shortest), longest);
    return Math.abs(nearest / length - 1) <= 0.15 ? 1 : nearest / length;
  };
  return resizeView(view, scale(fx), scale(fy));
}

/**
 * The same field of view on another number of pixels.
 * @param {Viewport} view @param {number} scaleX @param {number} scaleY of the sides
 * @returns {Viewport}
 */
export function resizeView(view, scaleX, scaleY = scaleX) {
  const side = (/** @type {number} */ pixels) => Math.max(1, Math.round(pixels + HALF_UP));
  return { ...view, width: side(view.width * scaleX), height: side(view.height * scaleY) };
}

/** From clip coordinates of a view (x, y in -1..1, 1) to rays. @param {Viewport} view @returns {Matrix} */
export function clipToRays(view) {
  return multiply(rotation(view), [half(view.hfovDeg), 0, 0, 0, half(view.vfovDeg), 0, 0, 0, 1]);
}

/** From rays to clip coordinates of a view, times their depth. @param {Viewport} view @returns {Matrix} */
export function raysToClip(view) {
  return multiply([1 / half(view.hfovDeg), 0, 0, 0, 1 / half(view.vfovDeg), 0, 0, 0, 1], transpose(rotation(view)));
}

const half = (/** @type {number} */ fovDeg) => Math.tan((fovDeg * DEGREE) / 2);

/**
 * The view through a device that is held up like a window: alpha, beta, gamma of a DeviceOrientationEvent, and the angle
 * that the screen is turned by.
 * @returns {Angles}
 */
export function deviceAngles(
  /** @type {number} */ alpha, /** @type {number} */ beta, /** @type {number} */ gamma, /** @type {number} */ screenAngle,
) {
  const [sa, ca, sb, cb, sg, cg, ss, cs] = [alpha, beta, gamma, screenAngle].flatMap((a) => [Math.sin(a * DEGREE), Math.cos(a * DEGREE)]);
  // device-to-earth (x east, y north, z up), intrinsic Z-X'-Y''
  const m = [
    ca * cg - sa * sb * sg, -cb * sa, ca * sg + cg * sa * sb,
    cg * sa + ca * sb * sg, ca * cb, sa * sg - ca * cg * sb,
    -cb * sg, sb, cb * cg,
  ];
  const screen = multiply(m, [cs, -ss, 0, ss, cs, 0, 0, 0, 1]); // columns: right, up and out of the screen
  // to our axes (x east, y up, z north); the camera looks into the screen
  return rotationAngles([
    screen[0], screen[1], -screen[2],
    screen[6], screen[7], -screen[8],
    screen[3], screen[4], -screen[5],
  ]);
}
