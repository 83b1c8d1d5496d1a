import assert from "node:assert/strict";
import test from "node:test";
import { AdaptiveResolution, resolutionsOf } from "../../src/nerv360/web/player/adaptive-resolution.js";
import { fovAcross } from "../../src/nerv360/web/player/geometry.js";

const canvas = { yawDeg: 0, pitchDeg: 0, rollDeg: 0, hfovDeg: 78.1, vfovDeg: fovAcross(78.1, 9 / 16), width: 2560, height: 1440 };
const network = { trained: { width: 1280, height: 720, hfovDeg: [78.1, 78.1] }, scalable: true };
const panorama = { ...network, scalable: false };
const sideOf = ({ width, height }) => Math.min(width, height);

for (const [name, manifest, offered] of [["network", network, [540, 360]], ["panorama", panorama, [540, 360, 240]]])
  test(`of a ${name}, what is offered is drawn, and is less than all`, () => {
    const resolution = new AdaptiveResolution();
    assert.equal(sideOf(resolution.viewToDecode(canvas, manifest, "auto", false)), 720);
    assert.deepEqual(resolutionsOf(canvas, manifest), offered);
    for (const moving of [false, true])
      for (const choice of offered)
        assert.equal(sideOf(resolution.viewToDecode(canvas, manifest, choice, moving)), choice);
    assert.equal(sideOf(resolution.viewToDecode(canvas, manifest, 1080, false)), 720);
  });

test("a network draws no picture of less than half of the sides", () => {
  const resolution = new AdaptiveResolution();
  resolution.measure(1, { width: 1, height: 1 }); // warms up
  for (let pictures = 0; pictures < 9; pictures++) resolution.measure(1e6, canvas); // a slow machine
  for (const choice of ["auto", 360, 240])
    assert.equal(sideOf(resolution.viewToDecode(canvas, network, choice, true)), 360);
  assert.equal(sideOf(resolution.viewToDecode(canvas, network, 240, false)), 360);
});
