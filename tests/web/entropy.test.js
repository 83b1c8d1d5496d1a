import assert from "node:assert/strict";
import test from "node:test";
import { readMessagePack } from "../../src/nerv360/web/player/container.js";
import { Bytes, Reader } from "../../src/nerv360/web/player/entropy.js";
import { counts } from "../../src/nerv360/web/player/laplace.js";
import { bytes, vectors } from "./vectors.js";

const { tables, streams, messages } = vectors("entropy");

function decode(data, pieces) {
  const reader = new Reader(data);
  const found = pieces.map(({ classes }) => [...reader.read(Uint16Array.from(classes))]);
  reader.finish();
  return found;
}

test("the table of every class is that of the decoder", () => {
  tables.forEach((expected, number) => assert.deepEqual([...counts(number)], expected));
});

test("integers come out as they went in", () => {
  for (const { data, pieces } of streams) assert.deepEqual(decode(bytes(data), pieces), pieces.map(({ integers }) => integers));
});

test("damaged integers are refused", () => {
  for (const { data, pieces } of streams.filter((stream) => stream.data.length > 64)) {
    const good = bytes(data);
    assert.throws(() => decode(good.slice(0, -1), pieces), /damaged/);
    assert.throws(() => decode(good.slice(0, -4), pieces), /damaged/);
    assert.throws(() => decode(Uint8Array.from([...good, 0, 0, 0, 0]), pieces), /damaged/);
    assert.throws(() => decode(Uint8Array.from([...good, 1, 0, 0, 0]), pieces), /damaged/);
    assert.throws(() => decode(good, pieces.slice(0, -1)), /damaged/);
    for (let i = 0; i < good.length; i += 41) {
      const flipped = good.slice();
      flipped[i] ^= 16;
      try {
        decode(flipped, pieces);
      } catch (error) {
        assert.match(error.message, /damaged/);
      }
    }
  }
});

test("impossible excesses are refused", () => {
  const outermost = [{ classes: [4] }]; // without words, every symbol is -255
  assert.deepEqual(decode(bytes("0103"), outermost), [[-258]]);
  for (const hex of ["", "00", "01", "0180", "020303", "01ffffffffff7f", "01818040", "ffffffff7f"])
    assert.throws(() => decode(bytes(hex), outermost), /damaged/, hex);
  assert.throws(() => decode(bytes("01808040"), [{ classes: [] }]), /damaged/); // not taken
});

test("MessagePack is read as msgspec writes it", () => {
  for (const { packed, value } of messages) assert.deepEqual(readMessagePack(new Bytes(bytes(packed))), value);
  assert.throws(() => readMessagePack(new Bytes(bytes("c1"))), /damaged/);
  assert.throws(() => readMessagePack(new Bytes(bytes("ddffffffff"))), /damaged/);
});
