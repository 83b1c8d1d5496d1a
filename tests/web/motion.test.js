import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { inflateSync } from "node:zlib";
import { Container } from "../../src/nerv360/web/player/container.js";
import { gridPositions, rotation } from "../../src/nerv360/web/player/geometry.js";
import { ancestry, keysOfGroups } from "../../src/nerv360/web/player/key-order.js";
import { MotionDecoder } from "../../src/nerv360/web/player/motion/motion-decoder.js";
import { regionOf, windowOf } from "../../src/nerv360/web/player/motion/panorama-window.js";
import { path, serve, vectors } from "./vectors.js";

const { width, height, frames, orders, forged } = vectors("motion");
const { views } = vectors("geometry");
const panoramas = new Uint8Array(readFileSync(path("motion.rgb"))); // of all frames, as Python decodes them
const ofBothEyes = new Uint8Array(readFileSync(path("stereo.rgb"))); // in turn

const installed = (name) => readFileSync(new URL(`../../src/nerv360/motion/${name}`, import.meta.url));
const files = WebAssembly.compile(installed("core.wasm")).then((code) => ({ code, priors: inflateSync(installed("priors.bin")), received: 0 }));

async function open(data, cachedBytes) {
  const asked = serve(data);
  const container = await Container.open("http://host/video.nerv360");
  const decoder = new MotionDecoder(container, files, cachedBytes);
  const decode = async (frame, view, moving = false, eyes = 1) => decoder.decode(await container.segmentOf(frame), frame, view, moving, eyes);
  return { asked, container, decoder, decode };
}
const read = (name) => new Uint8Array(readFileSync(path(name)));

/** A window of the panorama of a frame, or of one of several pictures, whose columns go round. */
function cropped(frame, { top, left, height: rows, width: columns }, pictures = panoramas) {
  const found = new Uint8Array(3 * rows * columns);
  for (let row = 0, at = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, at += 3) {
      const x = (((left + column) % width) + width) % width;
      const from = 3 * ((frame * height + top + row) * width + x);
      found.set(pictures.subarray(from, from + 3), at);
    }
  return found;
}

const LOOKS = [[0, 0], [179, 5], [-175, -30], [40, 88], [-100, -90], [90, 60]];
const viewOf = ([yawDeg, pitchDeg]) => ({ yawDeg, pitchDeg, rollDeg: 10, hfovDeg: 70, vfovDeg: 50, width: 80, height: 60 });

for (const cachedBytes of [undefined, 0])
  test(`pictures are those of the decoder, in any order, ${cachedBytes === 0 ? "without room for more keys" : "with keys that stay"}`, async () => {
    const { decode } = await open(read("motion.nerv360"), cachedBytes);
    for (let i = 0; i < 2 * frames; i++) {
      const frame = (7 * i + 3) % frames;
      const { picture } = await decode(frame, viewOf(LOOKS[i % LOOKS.length]));
      assert.deepEqual(picture.panorama, { width, height });
      assert.deepEqual(picture.pixels, cropped(frame, picture.window), `frame ${frame}, ${JSON.stringify(picture.window)}`);
    }
  });

test("only what predicts a frame is fetched and decoded; reading ahead spares the rest", async () => {
  const { asked, container, decoder, decode } = await open(read("motion.nerv360"));
  const [segment] = container.segments;
  const before = asked.length;
  const needed = ancestry(segment, 0);
  assert.ok(needed.length < segment.groups[0]);
  const { facts } = await decode(0, viewOf(LOOKS[0]));
  assert.match(facts.Keys, new RegExp(`^${needed.length} decoded`));
  assert.ok(asked.length > before);
  await decoder.readAhead(segment, 0);
  const fetched = asked.length;
  for (const frame of [1, 2, 3]) assert.match((await decode(frame, viewOf(LOOKS[0]))).facts.Keys, /^0 decoded/);
  await decode(segment.groups[0], viewOf(LOOKS[1])); // of the next group
  assert.equal(asked.length, fetched);
});

for (const cachedBytes of [undefined, 0])
  test(`both eyes of a frame are decoded, or the left alone, ${cachedBytes === 0 ? "without" : "with"} room for more keys`, async () => {
    const { container, decode } = await open(read("stereo.nerv360"), cachedBytes);
    assert.equal(container.eyes, 2);
    for (let i = 0; i < 2 * frames; i++) {
      const frame = (7 * i + 3) % frames;
      const { picture, right } = await decode(frame, viewOf(LOOKS[i % LOOKS.length]), false, 1 + (i % 3 ? 1 : 0));
      assert.deepEqual(picture.pixels, cropped(2 * frame, picture.window, ofBothEyes), `left of frame ${frame}`);
      if (i % 3) assert.deepEqual(right.pixels, cropped(2 * frame + 1, right.window, ofBothEyes), `right of frame ${frame}`);
      else assert.equal(right, null);
    }
  });

test("where frames are skipped, both eyes see the same one", async () => {
  const { decode } = await open(read("stereo.nerv360"));
  await decode(0, viewOf(LOOKS[0]), true, 2);
  for (const frame of [4, 9, 13]) {
    const { picture, right } = await decode(frame, viewOf(LOOKS[0]), true, 2);
    const shows = (pixels, number) => Buffer.compare(pixels, cropped(number, picture.window, ofBothEyes)) === 0;
    const shown = [...Array(frames).keys()].filter((each) => shows(picture.pixels, 2 * each));
    assert.equal(shown.length, 1);
    assert.ok(shows(right.pixels, 2 * shown[0] + 1), `frame ${frame}`);
  }
});

test("the right eye's keys are fetched only where it is shown", async () => {
  const { container, decoder, decode } = await open(read("stereo.nerv360"));
  await decode(0, viewOf(LOOKS[0]));
  await decoder.readAhead(container.segments[0], 0);
  const [segment] = container.segments;
  const [first, second] = segment.groups;
  const has = (chunk) => container.reader.has(segment.chunks[chunk]);
  assert.ok(has(first - 1) && has(2 * first) && !has(2 * first - 1) && !has(2 * first + 2 * second - 1));
  assert.deepEqual(container.buffered, [[0, first + second]]);
  await decode(0, viewOf(LOOKS[0]), false, 2);
  await decoder.readAhead(container.segments[0], 0);
  assert.ok(has(2 * first - 1) && has(2 * first + 2 * second - 1));
});

test("reading ahead ends where another view is asked for", async () => {
  const { container, decoder, decode } = await open(read("motion.nerv360"));
  await decode(0, viewOf(LOOKS[0]));
  const ahead = decoder.readAhead(container.segments[0], 0);
  const last = frames - 1;
  const { picture } = await decode(last, viewOf(LOOKS[2]));
  await ahead;
  assert.deepEqual(picture.pixels, cropped(last, picture.window));
  assert.doesNotMatch((await decode(3, viewOf(LOOKS[0]))).facts.Keys, /^0 decoded/);
});

test("where frames are skipped, those that take the fewest keys are shown, and the right one at rest", async () => {
  const skipping = [4, 9, 13];
  const count = async (moving) => {
    const { decode } = await open(read("motion.nerv360"));
    await decode(0, viewOf(LOOKS[0]), moving);
    const answers = [];
    for (const frame of skipping) answers.push(await decode(frame, viewOf(LOOKS[0]), moving));
    const { picture, rough } = await decode(13, viewOf(LOOKS[0]), false);
    assert.equal(rough, false);
    assert.deepEqual(picture.pixels, cropped(13, picture.window));
    return { keys: answers.reduce((sum, { facts }) => sum + Number.parseInt(facts.Keys), 0), rough: answers.some(({ rough }) => rough) };
  };
  const [exact, quick] = [await count(false), await count(true)];
  assert.ok(quick.keys < exact.keys, `${quick.keys} keys, not ${exact.keys}`);
  assert.deepEqual([exact.rough, quick.rough], [false, true]);
});

test("a window holds all that its view is sampled from", () => {
  for (const { view } of views)
    for (const [columns, rows] of [[300, 150], [2048, 1024]]) {
      const { top, left, height: windowRows, width: windowColumns } = windowOf(view, columns, rows);
      assert.ok(top >= 0 && top + windowRows <= rows && windowColumns <= columns);
      const inside = (row, column) => {
        if (row < 0 || row >= rows) return windowColumns === columns && (row < 0 ? top === 0 : top + windowRows === rows);
        const x = (((column - left) % columns) + columns) % columns;
        return row >= top && row < top + windowRows && x < windowColumns;
      };
      const { x, y } = gridPositions(view, rotation(view), 1, 1, rows, columns);
      for (let i = 0; i < x.length; i += 7) {
        const [column, row] = [Math.floor(x[i] - 0.5), Math.floor(y[i] - 0.5)];
        assert.ok(inside(row, column) && inside(row + 1, column + 1), `${JSON.stringify(view)}: ${x[i]}, ${y[i]}`);
      }
    }
});

test("a small view touches a small window", () => {
  const { top, left, height: rows, width: columns } = windowOf({ ...viewOf([180, 0]), rollDeg: 0 }, 2048, 1024);
  assert.deepEqual([top % 64, ((left % 64) + 64) % 64], [2, 2]); // whole tiles, but for what is read around them
  assert.ok(rows <= 400 && columns <= 528, `${columns}x${rows}`);
});

test("keys are in the order of the decoder", () => {
  for (const { groups, interval, levels, keys } of orders) {
    const found = keysOfGroups(groups, interval, 0, levels).map(({ frame, references, level }) => [frame, references, level]);
    assert.deepEqual(found, keys);
  }
});

test("impossible headers are refused in plain words", async () => {
  for (const { file, message } of forged) {
    serve(read(file));
    await assert.rejects(Container.open("http://host/video.nerv360"), (error) => error.kind === "broken" && error.message.includes(message), file);
  }
});

test("a damaged key is told from others", async () => {
  const data = read("motion.nerv360");
  const { container } = await open(data);
  const [segment] = container.segments;
  data[segment.chunks[segment.chunkOfPicture.get(1)].start] ^= 1;
  const { decode } = await open(data);
  await assert.rejects(decode(1, viewOf(LOOKS[0])), /checksum/);
  const { picture } = await decode(2, viewOf(LOOKS[0]));
  assert.deepEqual(picture.pixels, cropped(2, picture.window));
});

// Sectors: a panorama of 320x160 in 5x3 of them

const ofSectors = new Uint8Array(readFileSync(path("sectors.rgb")));
const AROUND = { ...viewOf([10, 0]), rollDeg: 0, hfovDeg: 60, vfovDeg: 40 };
const TURNED = { ...AROUND, yawDeg: 150 };

/** PSNR within what a view touches, of a decoded window beside the panorama. @returns {number} */
function likeness(frame, view, { window, pixels }) {
  const { top, left, height: rows, width: columns } = regionOf(view, 320, 160);
  let error = 0;
  for (let row = top; row < top + rows; row++)
    for (let column = left; column < left + columns; column++)
      for (let colour = 0; colour < 3; colour++) {
        const found = pixels[3 * ((row - window.top) * window.width + ((column - window.left + 320) % 320)) + colour];
        error += (found - ofSectors[3 * ((frame * 160 + row) * 320 + ((column + 320) % 320)) + colour]) ** 2;
      }
  return 10 * Math.log10(255 ** 2 / Math.max(1e-9, error / (3 * rows * columns)));
}

test("a view fetches the sectors that it depends on, and looks as if all were there", async () => {
  for (const view of [AROUND, TURNED, { ...AROUND, pitchDeg: 88 }, { ...AROUND, yawDeg: 179 }]) {
    const data = read("sectors.nerv360");
    const { container, decode } = await open(data);
    for (const frame of [4, 0, 14]) {
      const { picture, rough } = await decode(frame, view);
      assert.equal(rough, false);
      assert.ok(likeness(frame, view, picture) > 45, `${likeness(frame, view, picture)} dB`);
    }
    assert.ok(container.reader.received < 0.8 * data.length || view.pitchDeg > 80, `${container.reader.received} of ${data.length} bytes`);
  }
});

/** Hold back the answers to requests from now on; gives what lets them go. */
function holdBack() {
  const quick = globalThis.fetch;
  const waiting = [];
  globalThis.fetch = (...request) => new Promise((resolve) => waiting.push(() => resolve(quick(...request))));
  return () => {
    globalThis.fetch = quick;
    for (const answer of waiting) answer();
  };
}

/** What is shown of a view at rest once it is sharp. */
async function atRest(decode, frame, view) {
  for (;;) {
    const answer = await decode(frame, view);
    if (!answer.rough) return answer;
  }
}

test("what comes late is soft at first, and sharp at rest", async () => {
  const data = read("sectors.nerv360");
  const { container, decoder, decode } = await open(data);
  await decode(4, AROUND);
  await decoder.readAhead(container.segments[0], 4);
  const letGo = holdBack();
  const soft = await decode(4, TURNED, true);
  assert.equal(soft.rough, true);
  assert.equal((await decode(4, TURNED)).rough, true); // at rest, too, as long as nothing comes
  letGo();
  const sharp = await atRest(decode, 4, TURNED);
  const [before, after] = [soft, sharp].map(({ picture }) => likeness(4, TURNED, picture));
  assert.ok(after > 45 && before > 15 && before < after, `${before}, ${after} dB`);
});

test("where no sectors come, it plays on softly", async () => {
  const { container, decoder, decode } = await open(read("sectors.nerv360"));
  const [segment] = container.segments;
  await container.reader.fetch(segment.spans.map(({ first, lengths }) => {
    const { start } = segment.chunks[first];
    return { start, length: lengths.start + lengths.length - start };
  }));
  const letGo = holdBack();
  for (const frame of [0, 1, 2, 3, 5]) {
    const { rough, picture } = await decode(frame, AROUND, true);
    assert.equal(rough, true);
    assert.ok(likeness(frame, AROUND, picture) > 15);
    decoder.readAhead(segment, frame);
  }
  letGo();
  assert.ok(likeness(6, AROUND, (await atRest(decode, 6, AROUND)).picture) > 45);
});

test("the keys of the next seconds are asked for before any sectors", async () => {
  const { asked, container, decoder, decode } = await open(read("sectors.nerv360"));
  const [segment] = container.segments;
  await decode(0, AROUND, true);
  const letGo = holdBack();
  const before = asked.length;
  decoder.readAhead(segment, 0);
  await new Promise((resolve) => setTimeout(resolve));
  letGo();
  const isBase = ([start]) => segment.chunks.some((each) => each.start === start);
  assert.ok(asked.slice(before).every(isBase));
  assert.ok(asked.length > before);
});

test("playing on takes what was read ahead", async () => {
  const { asked, container, decoder, decode } = await open(read("sectors.nerv360"));
  await decode(0, AROUND);
  await decoder.readAhead(container.segments[0], 0);
  const fetched = asked.length;
  for (const frame of [1, 2, 3, 4]) assert.equal((await decode(frame, AROUND, true)).rough, false);
  assert.equal(asked.length, fetched);
});

test("a damaged sector is told where it is seen", async () => {
  const data = read("sectors.nerv360");
  const { container } = await open(data);
  const { start, length } = container.segments[0].spans[0].sectors;
  data.fill(0, start + length - 20, start + length); // the south pole
  const { decode } = await open(data);
  await decode(4, AROUND);
  await assert.rejects(decode(4, { ...AROUND, pitchDeg: -85 }), /a sector ends as none does/);
  await decode(4, AROUND);
});

test("a server without ranges gives all sectors at once", async () => {
  const asked = serve(read("sectors.nerv360"), { ranges: false });
  const container = await Container.open("http://host/video.nerv360");
  const decoder = new MotionDecoder(container, files);
  for (const view of [AROUND, TURNED]) assert.equal((await decoder.decode(container.segments[0], 4, view, true)).rough, false);
  assert.equal(asked.length, 1);
});

test("nobody fetches what is coming", async () => {
  const { asked, container } = await open(read("sectors.nerv360"));
  const before = asked.length;
  const far = { start: 5000, length: 100 };
  await Promise.all([container.reader.fetch([far]), container.reader.fetch([far, { start: 5010, length: 20 }])]);
  assert.equal(asked.length, before + 1);
});
