import assert from "node:assert/strict";
import test from "node:test";
import {
  clipToRays, deviceAngles, focal, fovAcross, gridPositions, multiply, nativeView, raysToClip, rotation, rotationAngles, transpose, wrapCell,
} from "../../src/nerv360/web/player/geometry.js";
import { near, vectors } from "./vectors.js";

const { views } = vectors("geometry");

test("rotations and positions are those of nerv360.geometry, over poles and seam too", () => {
  for (const { view, rotation: expected, cell, whole, rows, columns, x, y } of views) {
    near(rotation(view), expected, 1e-12);
    const found = gridPositions(view, rotation(view), cell, whole, rows, columns);
    assert.equal(found.rows * found.columns, x.length);
    near(found.x, x, 1e-9 * columns);
    near(found.y, y, 1e-9 * rows);
  }
});

test("a view is decoded at the size that the decoder chooses", () => {
  for (const { view, trained, native } of views) {
    const { width, height } = nativeView(view, trained);
    assert.deepEqual([width, height], native);
  }
});

test("angles are found again from a rotation", () => {
  for (const { view } of views) near(rotation(rotationAngles(rotation(view))), rotation(view), 1e-12);
});

test("beyond its edges the grid goes on as the sphere does", () => {
  const [rows, columns] = [4, 8];
  assert.equal(wrapCell(1, -1, rows, columns), 1 * 8 + 7);
  assert.equal(wrapCell(2, 8, rows, columns), 2 * 8);
  assert.equal(wrapCell(-1, 1, rows, columns), 0 * 8 + 5);
  assert.equal(wrapCell(4, 6, rows, columns), 3 * 8 + 2);
  assert.equal(wrapCell(-8, 3, rows, columns), 3); // all round
});

test("from clip coordinates of one view to those of another along the same ray", () => {
  const view = { yawDeg: 30, pitchDeg: 20, rollDeg: 10, hfovDeg: 80, vfovDeg: 60, width: 100, height: 70 };
  const other = { ...view, yawDeg: 41, pitchDeg: 12, rollDeg: -5, hfovDeg: 70, vfovDeg: 50 };
  const ray = (of, [x, y]) => {
    const half = (fov) => Math.tan((fov * Math.PI) / 360);
    return times(rotation(of), [x * half(of.hfovDeg), y * half(of.vfovDeg), 1]);
  };
  const point = [0.3, -0.4];
  near(times(clipToRays(view), [...point, 1]), ray(view, point), 1e-12);
  const [a, b, depth] = times(multiply(raysToClip(other), clipToRays(view)), [...point, 1]);
  assert.ok(depth > 0);
  const [one, two] = [ray(view, point), ray(other, [a / depth, b / depth])];
  near(one.map((v) => v / Math.hypot(...one)), two.map((v) => v / Math.hypot(...two)), 1e-12);
});

test("a device held up like a window looks where its back looks", () => {
  const looks = (angles, expected) => near(Object.values(angles), expected, 1e-9);
  looks(deviceAngles(0, 90, 0, 0), [0, 0, 0]); // upright, north
  looks(deviceAngles(270, 90, 0, 0), [90, 0, 0]); // turned to the east
  looks(deviceAngles(0, 120, 0, 0), [0, 30, 0]); // tilted to the sky
  looks(deviceAngles(0, 60, 0, 0), [0, -30, 0]);
});

test("a field of view goes over to the other side", () => {
  const view = { ...views[0].view, width: 200, height: 100, hfovDeg: 90, vfovDeg: fovAcross(90, 0.5) };
  const { fx, fy } = focal(view);
  near([fx, fy], [100, 100], 1e-9);
  near(multiply(rotation(view), transpose(rotation(view))), [1, 0, 0, 0, 1, 0, 0, 0, 1], 1e-12);
});

const times = (m, v) => [0, 3, 6].map((i) => m[i] * v[0] + m[i + 1] * v[1] + m[i + 2] * v[2]);
