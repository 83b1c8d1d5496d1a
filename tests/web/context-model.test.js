import assert from "node:assert/strict";
import test from "node:test";
import { keyCodingOrder } from "../../src/nerv360/web/player/network/coding-order.js";
import { readContextModel, readLatent } from "../../src/nerv360/web/player/network/context-model.js";
import { bytes, vectors } from "./vectors.js";

const { latents, orders } = vectors("contexts");

test("keys are read in the order of the decoder", () => {
  orders.forEach((expected, index) => {
    const found = keyCodingOrder(index + 1);
    // the last reference, where there is none behind, is the one before again
    assert.deepEqual(found.map((entry) => [...new Set(entry)]), expected);
  });
});

test("latents come out as they went in, of odd sizes and with wild contextModel too", () => {
  for (const { contextModel, channels, data, firstChannel, shape, integers } of latents) {
    const [keys, own, rows, columns] = shape;
    const found = readLatent(bytes(data), readContextModel(bytes(contextModel), channels), firstChannel, keys, { channels: own, rows, columns });
    assert.deepEqual([...found], integers);
  }
});

test("damaged latents are refused, or are others", () => {
  for (const { contextModel, channels, data, firstChannel, shape } of latents.filter(({ shape }) => shape[1] === 2 && shape[0] === 5)) {
    const [keys, own, rows, columns] = shape;
    const read = (changed) => readLatent(changed, readContextModel(bytes(contextModel), channels), firstChannel, keys, { channels: own, rows, columns });
    assert.throws(() => read(bytes(data).slice(0, -4)), /damaged/);
    for (let i = 0; i < data.length / 2; i += 97) {
      const flipped = bytes(data);
      flipped[i] ^= 64;
      try {
        read(flipped);
      } catch (error) {
        assert.match(error.message, /damaged/);
      }
    }
  }
});
