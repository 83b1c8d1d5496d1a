import assert from "node:assert/strict";
import test from "node:test";
import { ByteReader } from "../../src/nerv360/web/player/byte-reader.js";
import { SymbolDecoder } from "../../src/nerv360/web/player/network/entropy.js";
import { frequencies } from "../../src/nerv360/web/player/network/laplace.js";
import { readMessagePack } from "../../src/nerv360/web/player/message-pack.js";
import { bytes, vectors } from "./vectors.js";

const { tables, streams, messages } = vectors("entropy");

function decode(data, batches) {
  const decoder = new SymbolDecoder(data);
  const found = batches.map(({ models }) => [...decoder.decode(Uint16Array.from(models))]);
  decoder.finish();
  return found;
}

test("the table of every model is that of the decoder", () => {
  tables.forEach((expected, number) => assert.deepEqual([...frequencies(number)], expected));
});

test("integers come out as they went in", () => {
  for (const { data, batches } of streams) assert.deepEqual(decode(bytes(data), batches), batches.map(({ integers }) => integers));
});

test("damaged integers are refused", () => {
  for (const { data, batches } of streams.filter((stream) => stream.data.length > 64)) {
    const good = bytes(data);
    assert.throws(() => decode(good.slice(0, -1), batches), /damaged/);
    assert.throws(() => decode(good.slice(0, -4), batches), /damaged/);
    assert.throws(() => decode(Uint8Array.from([...good, 0, 0, 0, 0]), batches), /damaged/);
    assert.throws(() => decode(Uint8Array.from([...good, 1, 0, 0, 0]), batches), /damaged/);
    assert.throws(() => decode(good, batches.slice(0, -1)), /damaged/);
    for (let i = 0; i < good.length; i += 41) {
      const flipped = good.slice();
      flipped[i] ^= 16;
      try {
        decode(flipped, batches);
      } catch (error) {
        assert.match(error.message, /damaged/);
      }
    }
  }
});

test("impossible escapes are refused", () => {
  const outermost = [{ models: [4] }]; // without words, every symbol is -255
  assert.deepEqual(decode(bytes("0103"), outermost), [[-258]]);
  for (const hex of ["", "00", "01", "0180", "020303", "01ffffffffff7f", "01818040", "ffffffff7f"])
    assert.throws(() => decode(bytes(hex), outermost), /damaged/, hex);
  assert.throws(() => decode(bytes("01808040"), [{ models: [] }]), /damaged/); // not taken
});

test("MessagePack is read as msgspec writes it", () => {
  for (const { packed, value } of messages) assert.deepEqual(readMessagePack(new ByteReader(bytes(packed))), value);
  assert.throws(() => readMessagePack(new ByteReader(bytes("c1"))), /damaged/);
  assert.throws(() => readMessagePack(new ByteReader(bytes("ddffffffff"))), /damaged/);
});
