/** Keys of a segment that predict one another, and the order in which they are coded (motion/keys.py). */

/** @typedef {{frame: number, references: number[], level: number}} Key references: none of a root, one of a P key, two of a B key */

/**
 * Keys of a group of frames, each behind those that predict it: the root in the middle, P keys every `interval` frames to both
 * sides of it and at both ends, and B keys that halve what lies between.
 * @param {number} frames @param {number} interval @returns {Key[]}
 */
export function keyOrder(frames, interval) {
  const root = Math.floor(frames / 2);
  /** @type {Key[]} */
  const keys = [{ frame: root, references: [], level: 0 }];
  const between = (/** @type {number} */ first, /** @type {number} */ last, /** @type {number} */ level) => {
    if (last - first <= 1) return;
    const middle = Math.floor((first + last) / 2);
    keys.push({ frame: middle, references: [first, last], level });
    between(first, middle, level + 1);
    between(middle, last, level + 1);
  };
  let [low, high] = [root, root];
  while (low > 0 || high < frames - 1) {
    if (low > 0) {
      const before = Math.max(0, low - interval);
      keys.push({ frame: before, references: [low], level: 1 });
      between(before, low, 2);
      low = before;
    }
    if (high < frames - 1) {
      const behind = Math.min(frames - 1, high + interval);
      keys.push({ frame: behind, references: [high], level: 1 });
      between(high, behind, 2);
      high = behind;
    }
  }
  return keys;
}

/**
 * Keys of groups of so many frames, one behind the other; frames are counted on through all of them.
 * @param {number[]} groups @param {number} interval @param {number} first frame of the first group @returns {Key[]}
 */
export function keysOfGroups(groups, interval, first = 0) {
  return groups.flatMap((frames) => {
    const keys = keyOrder(frames, interval).map(({ frame, references, level }) => ({
      frame: first + frame,
      references: references.map((reference) => first + reference),
      level,
    }));
    first += frames;
    return keys;
  });
}

/**
 * The chunks of a frame's key and of all that predicts it, in the order of coding.
 * @param {import("./segments.js").MotionSegment} segment @param {number} frame
 */
export function ancestry({ keys, chunkOfFrame }, frame) {
  /** @type {Set<number>} */
  const found = new Set();
  const add = (/** @type {number} */ each) => {
    const chunk = /** @type {number} */ (chunkOfFrame.get(each));
    if (found.has(chunk)) return;
    found.add(chunk);
    keys[chunk].references.forEach(add);
  };
  add(frame);
  return [...found].sort((a, b) => a - b);
}
