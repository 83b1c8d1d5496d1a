import assert from "node:assert/strict";
import test from "node:test";
import { LineEstimate } from "../../src/nerv360/web/player/line-estimate.js";
import { RANKS, choose } from "../../src/nerv360/web/player/motion/fetch-order.js";

/** Answers that come over a line of so many bytes a millisecond, each in ten parts. */
function measured(line, rate, latency, sizes, begin = 0) {
  let now = begin;
  for (const size of sizes) {
    const askedAt = now;
    now += latency;
    for (let part = 1; part <= 10; part++) {
      now += size / 10 / rate;
      if (part === 1) line.answered(now - askedAt);
      line.heard(size / 10, now, askedAt);
    }
  }
  return line;
}

for (const [rate, latency] of [[20, 10], [20, 100], [1000, 30]])
  test(`a line of ${rate} kB a second and ${latency} ms is estimated`, () => {
    const line = measured(new LineEstimate(), rate, latency, Array(200).fill(50 * rate));
    assert.ok(Math.abs(line.rate / rate - 1) < 0.15, `${line.rate} bytes a millisecond`);
    assert.ok(line.latency >= latency && line.latency < latency + 6, `${line.latency} ms`);
  });

test("the estimate follows a line that grows thin, and does not count the time in which nothing was asked for", () => {
  const line = measured(new LineEstimate(), 1000, 20, Array(100).fill(20_000));
  measured(line, 50, 20, Array(100).fill(20_000), 1e6);
  assert.ok(line.rate > 40 && line.rate < 75, `${line.rate} bytes a millisecond`);
});

test("answers that come together are one stream of bytes", () => {
  const line = new LineEstimate();
  for (let now = 20; now < 2000; now += 10) {
    line.answered(20);
    for (let request = 0; request < 4; request++) line.heard(250, now, 0); // of four requests, 1000 bytes every 10 ms
  }
  assert.ok(Math.abs(line.rate - 100) < 5, `${line.rate} bytes a millisecond`);
});

const wish = (start, rank, length = 1000, useful = Infinity) => ({ start, length, rank, useful });
const starts = (wishes) => wishes.map(({ start }) => start);
const thin = { rate: 20, latency: 10, duration: (bytes) => 10 + bytes / 20 };
const wide = { rate: 1000, latency: 10, duration: (bytes) => 10 + bytes / 1000 };

test("keys come first, then sectors from the middle outwards, then later keys", () => {
  const wishes = [wish(1, RANKS.laterBase), wish(2, 70), wish(3, 5), wish(4, RANKS.base), wish(5, RANKS.base)];
  assert.deepEqual(starts(choose(wishes, wide, 0)), [4, 5, 3, 2, 1]);
});

test("no more is asked for than the line carries soon", () => {
  const wishes = Array.from({ length: 50 }, (_, i) => wish(i, i));
  assert.equal(choose(wishes, wide, 0).length, 50);
  assert.deepEqual(starts(choose(wishes, thin, 0)), [0, 1, 2]);
  assert.deepEqual(starts(choose(wishes, thin, 1500)), [0]);
  assert.deepEqual(choose(wishes, thin, 5000), []);
});

test("what would come too late is left out, not what is needed behind it", () => {
  const wishes = [wish(1, 1, 1000, 50), wish(2, 2, 1000, 50), wish(3, 3)];
  assert.deepEqual(starts(choose(wishes, wide, 0)), [1, 2, 3]);
  assert.deepEqual(starts(choose(wishes, thin, 0)), [3]);
});

test("what several frames wish for is asked for once", () => {
  assert.deepEqual(starts(choose([wish(1, 3), wish(2, 2), wish(1, 1)], wide, 0)), [1, 2]);
});
