import assert from "node:assert/strict";
import test from "node:test";
import { Bytes, decode, readTable } from "../../src/nerv360/web/player/entropy.js";
import { readMessagePack } from "../../src/nerv360/web/player/container.js";
import { vectors } from "./vectors.js";

const { streams, messages } = vectors("entropy");
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const tablesOf = (tables) => tables.map((hex) => readTable(new Bytes(bytes(hex))));

test("integers come out as they went in", () => {
  for (const { data, tables, symbols } of streams) {
    const found = decode(bytes(data), tablesOf(tables).map((table, i) => [symbols[i].length, table]));
    assert.deepEqual(found.map((part) => [...part]), symbols);
  }
});

test("damaged integers are refused", () => {
  const { data, tables, symbols } = streams.find((stream) => stream.data.length > 64);
  const parts = () => tablesOf(tables).map((table, i) => [symbols[i].length, table]);
  const good = bytes(data);
  assert.throws(() => decode(good.slice(0, -1), parts()), /damaged/);
  assert.throws(() => decode(good.slice(4), parts()), /damaged/);
  assert.throws(() => decode(Uint8Array.from([...good, 0, 0, 0, 0]), parts()), /damaged/);
  for (let i = 0; i < good.length; i += 3) {
    const flipped = good.slice();
    flipped[i] ^= 16;
    try {
      decode(flipped, parts());
    } catch (error) {
      assert.match(error.message, /damaged/);
    }
  }
});

test("impossible tables and integers are refused", () => {
  for (const hex of ["", "00", "0000", "0001", "000101", "00ffffffff7f", "ffffffffffff", "000200808004"])
    assert.throws(() => readTable(new Bytes(bytes(hex))), /damaged/, hex);
});

test("MessagePack is read as msgspec writes it", () => {
  for (const { packed, value } of messages) assert.deepEqual(readMessagePack(new Bytes(bytes(packed))), value);
  assert.throws(() => readMessagePack(new Bytes(bytes("c1"))), /damaged/);
  assert.throws(() => readMessagePack(new Bytes(bytes("ddffffffff"))), /damaged/);
});
