import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { readKeyGroup, readTables, readWeights } from "../../src/nerv360/web/player/network/chunks.js";
import { Container } from "../../src/nerv360/web/player/container.js";
import { crc32 } from "../../src/nerv360/web/player/crc32.js";
import { rotation } from "../../src/nerv360/web/player/geometry.js";
import { GridInputs, GridPreview } from "../../src/nerv360/web/player/onnx/grid-network.js";
import { chunkOfKey, chunksOfFrame, interpolationWeights, keyFrameIndex } from "../../src/nerv360/web/player/layout.js";
import { PaperInputs } from "../../src/nerv360/web/player/onnx/paper-network.js";
import { tensorShapes } from "../../src/nerv360/web/player/network/tensor-shapes.js";
import { near, path, serve, vectors } from "./vectors.js";

const files = vectors("files"); // of every network that browsers decode

const checksum = (numbers) => crc32(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
const read = (name) => new Uint8Array(readFileSync(path(name)));

async function load(name) {
  const data = read(name);
  const asked = serve(data);
  const container = await Container.open("http://host/video.nerv360");
  const [segment] = container.segments;
  return { data, asked, container, segment };
}

for (const file of files) {
  const { name, weights: expectedWeights, allWeights, keyGroups, frame, view, latents, angles, sampled, modulations, shapes: expectedShapes } = file;
  test(`${name}: weights, latents and what draw takes are those of the decoder`, async () => {
    const { container, segment } = await load(name);
    await container.fetch(segment, segment.chunks.map((_, index) => index));
    const shapes = tensorShapes({ ...segment.network, latents: segment.latents });
    const { weights, all } = readWeights(container.chunk(segment, 0), shapes);
    assert.deepEqual([...weights.keys()], Object.keys(expectedWeights));
    for (const [key, expected] of Object.entries(expectedWeights)) near(weights.get(key).slice(0, expected.length), expected, 0);
    assert.equal(checksum(all), allWeights);
    const tables = await readTables(container.chunk(segment, 1), segment);
    assert.deepEqual(tables.angles && Object.values(tables.angles[frame]), angles);
    const values = segment.keyGroups.map((group, index) => readKeyGroup(container.chunk(segment, 2 + index), segment, group, tables));
    assert.deepEqual(values.map(checksum), keyGroups);
    const grids = segment.latents.map(({ stride, motion, channels, rows, columns, keyInterval }, latent) => {
      const size = channels * rows * columns;
      const keys = interpolationWeights(keyInterval, frame, segment.frames).map(([key, weight]) => {
        const group = chunkOfKey(segment, latent, key) - 2;
        const start = (key - segment.keyGroups[group].firstKey) * size;
        const data = values[group].subarray(start, start + size);
        return { data, weight, distance: keyInterval ? frame - keyFrameIndex(keyInterval, key, segment.frames) : 0 };
      });
      const all = keys.flatMap(({ data }) => [...data]);
      near(all.slice(0, latents[latent].length), latents[latent], 1e-6);
      return { stride, motion, channels, rows, columns, keys };
    });
    const time = (frame + 0.5) / segment.frames;
    const inputs = segment.network.oriented || !weights.has("time_stem.output.bias") ? new GridInputs(segment.network) : new PaperInputs(segment.network, weights);
    const camera = tables.angles && rotation(tables.angles[frame]);
    const found = inputs.gather(inputs.features(grids, time), view, camera, time);
    found.sampled.forEach(({ data }, i) => near(data, sampled[i], 1e-5)); // 9e-7 measured
    assert.equal(found.sampled.length, sampled.length);
    found.modulations.forEach(({ data }, i) => near(data, modulations[i], 1e-6)); // 1.2e-7 measured
    assert.equal(found.modulations.length, modulations.length);
    assert.deepEqual([...found.sampled, ...found.modulations].map(({ dims }) => dims), expectedShapes);

    if (!file.preview) return;
    const preview = new GridPreview(segment.network, weights);
    const coarse = grids.filter(({ stride }) => stride >= preview.lastStride);
    const { pixels, rowLength, width, height } = preview.draw(coarse, file.previewView, camera);
    assert.deepEqual([width, height], [file.previewView.width / 2, file.previewView.height / 2]);
    assert.equal(pixels.length % rowLength, 0);
    near(pixels, file.preview, 0.501); // rounded
  });
}

test("the first picture is one stretch from the front, and nothing is fetched twice", async () => {
  const { data, asked, container, segment } = await load(files[0].name);
  await container.fetch(segment, chunksOfFrame(segment, 0));
  assert.ok(asked.length <= 2);
  assert.equal(asked[0][0], 0);
  const before = asked.length;
  await container.fetch(segment, chunksOfFrame(segment, 0));
  assert.equal(asked.length, before);
  assert.equal(container.reader.received, Math.max(...asked.map(([, end]) => Math.min(end + 1, data.length))));
});

test("a server without ranges gives the whole file once", async () => {
  const asked = serve(read(files[0].name), { ranges: false });
  const container = await Container.open("http://host/video.nerv360");
  await container.fetch(container.segments[0], chunksOfFrame(container.segments[0], 3));
  assert.equal(asked.length, 1);
});

test("damage is told from a server that is gone", async () => {
  const data = read(files[0].name);
  const opened = (bytes, options) => {
    serve(bytes, options);
    return Container.open("http://host/video.nerv360");
  };
  const kind = (expected) => (error) => error.kind === expected;
  await assert.rejects(opened(new Uint8Array(0)), kind("broken"));
  await assert.rejects(opened(data.slice(0, 200)), kind("broken"));
  await assert.rejects(opened(data.slice(0, -1)), kind("broken"));
  await assert.rejects(opened(Uint8Array.of(...data.slice(0, 8), 250, ...data.slice(9))), /newer/);
  await assert.rejects(opened(Uint8Array.of(...data.slice(0, 8), 1, ...data.slice(9))), /older/);
  await assert.rejects(opened(new TextEncoder().encode("x".repeat(999))), /not a .nerv360 file/);
  await assert.rejects(opened(data, { fail: () => new TypeError("failed") }), kind("gone"));
  await assert.rejects(opened(data, { fail: () => 502 }), kind("gone"));
  await assert.rejects(opened(data, { fail: () => 404 }), kind("broken"));
  const flipped = data.slice();
  flipped[flipped.length - 5] ^= 1;
  const container = await opened(flipped);
  const [segment] = container.segments;
  const last = segment.chunks.length - 1;
  await container.fetch(segment, [last]);
  assert.throws(() => container.chunk(segment, last), /checksum/);
});

for (const [what, answer] of [
  ["other ranges", (part, size) => [part, `bytes 1-${part.length}/${size}`]],
  ["less than it says", (part, size) => [part.subarray(1), `bytes 0-${part.length - 1}/${size}`]],
  ["more than it says", (part, size) => [new Uint8Array([...part, 0]), `bytes 0-${part.length - 1}/${size}`]],
  ["no Content-Range", (part) => [part, null]],
])
  test(`a server that sends ${what} is told from a damaged file`, async () => {
    const data = read(files[0].name);
    globalThis.fetch = async () => {
      const [part, range] = answer(data.subarray(0, 4096), data.length);
      return new Response(part, { status: 206, headers: range ? { "Content-Range": range } : {} });
    };
    await assert.rejects(Container.open("http://host/video.nerv360"), /server sends other bytes/);
  });

test("CRC-32 is that of PNG", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});
