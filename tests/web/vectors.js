/** What Python computed: tests/test_player.py writes it into the folder that NERV360_VECTORS names. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const folder = process.env.NERV360_VECTORS;

export const path = (name) => `${folder}/${name}`;
export const vectors = (name) => JSON.parse(readFileSync(path(`${name}.json`), "utf8"));

export const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));

export function near(found, expected, tolerance) {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < expected.length; i++)
    assert.ok(Math.abs(found[i] - expected[i]) <= tolerance, `[${i}]: ${found[i]} is not ${expected[i]}`);
}

/** `fetch` of a file, by ranges as a server has it; returns the ranges that were asked for. */
export function serve(data, { ranges = true, fail = () => null } = {}) {
  const asked = [];
  globalThis.fetch = async (address, { headers }) => {
    const [, start, end] = headers.Range.match(/bytes=(\d+)-(\d+)/).map(Number);
    asked.push([start, end]);
    const failure = fail(start, end);
    if (failure instanceof Error) throw failure;
    if (failure) return new Response("", { status: failure });
    if (!ranges) return new Response(data);
    const part = data.subarray(start, end + 1);
    return new Response(part, { status: 206, headers: { "Content-Range": `bytes ${start}-${start + part.length - 1}/${data.length}` } });
  };
  return asked;
}
