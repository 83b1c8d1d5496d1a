import assert from "node:assert/strict";
import test from "node:test";
import { PlaybackClock } from "../../src/nerv360/web/player/clock.js";

function clockOf(changes = {}) {
  const clock = Object.assign(new PlaybackClock(), changes);
  clock.setVideo({ frames: 100, frameRate: 10 });
  return clock;
}

test("time advances at its speed, from the first tick on", () => {
  const clock = clockOf({ speed: 2 });
  assert.equal(clock.tick(1000, true), false); // it does not play
  clock.play();
  assert.equal(clock.tick(5000, false), false);
  assert.equal(clock.tick(5250, false), true);
  assert.equal(clock.time, 0.5);
  assert.equal(clock.frame, 5);
});

test("a page that was held up continues from where it was, but for one second", () => {
  const clock = clockOf({ speed: 0.5 });
  clock.play();
  clock.tick(1000, false);
  clock.tick(61_000, false);
  assert.equal(clock.time, 0.5);
});

test("what is waited for takes no time", () => {
  const clock = clockOf();
  clock.play();
  clock.tick(1000, false);
  assert.equal(clock.tick(1500, true), false);
  assert.equal(clock.tick(2000, false), false);
  assert.equal(clock.tick(2100, false), true);
  assert.ok(Math.abs(clock.time - 0.1) < 1e-12);
});

test("at the end it loops, or stops and begins again", () => {
  const clock = clockOf();
  clock.seek(9.9);
  clock.play();
  assert.equal(clock.time, 0); // the last frame was shown
  clock.seek(9.8);
  clock.tick(1000, false);
  clock.tick(1500, false);
  assert.ok(Math.abs(clock.time - 0.3) < 1e-12);
  clock.loop = false;
  clock.seek(9.8);
  clock.tick(2000, false);
  assert.equal(clock.time, 10);
  assert.ok(clock.atEnd);
  assert.equal(clock.frame, 99);
  clock.play();
  assert.equal(clock.time, 0);
});

test("a time before the video is known is kept, and ends where a shorter video ends", () => {
  const clock = new PlaybackClock();
  clock.seek(7);
  clock.play();
  assert.deepEqual([clock.time, clock.frame], [7, 0]);
  clock.setVideo({ frames: 100, frameRate: 10 });
  assert.deepEqual([clock.time, clock.frame], [7, 70]);
  clock.setVideo({ frames: 20, frameRate: 10 });
  assert.deepEqual([clock.time, clock.frame], [2, 19]);
});

test("of a variable rate, frames are shown from their own times on", () => {
  const clock = new PlaybackClock();
  clock.setVideo({ frames: 4, frameRate: 10, frameStarts: [0, 0.1, 0.5, 0.6, 2] });
  assert.equal(clock.duration, 2);
  for (const [time, frame] of [[0, 0], [0.05, 0], [0.1, 1], [0.4999, 1], [0.5, 2], [0.7, 3], [1.99, 3], [2, 3]]) {
    clock.seek(time);
    assert.equal(clock.frame, frame, `at ${time}`);
    assert.ok(clock.startOf(frame) <= time);
  }
});
