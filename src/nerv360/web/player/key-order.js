/** Keys of a segment that predict one another, and the order in which they are coded (motion/keys.py). */

/**
 * @typedef {{frame: number, references: number[], level: number}} Key references: none of a root, one of a P key, two of a B key;
 *   where there are two eyes, frame and references number pictures: 0, 2, ... of the left one, 1, 3, ... of the right
 */

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
 * Keys of a group of frames of two eyes: all of the left one, then those of the right, the first levels of which are predicted
 * from the left picture of their frame.
 * @param {number} frames @param {number} interval @param {number} interViewLevels @returns {Key[]}
 */
function pairOrder(frames, interval, interViewLevels) {
  const keys = keyOrder(frames, interval);
  const of = (/** @type {number} */ eye) => keys.map(({ frame, references, level }) => ({
    frame: 2 * frame + eye,
    references: eye && level < interViewLevels ? [2 * frame] : references.map((each) => 2 * each + eye),
    level,
  }));
  return [...of(0), ...of(1)];
}

/**
 * Keys of groups of so many frames, one behind the other; frames, or the pictures of two eyes, are counted on through all.
 * @param {number[]} groups @param {number} interval @param {number} first frame, or picture, of the first group
 * @param {number} interViewLevels 0: of one eye @returns {Key[]}
 */
export function keysOfGroups(groups, interval, first = 0, interViewLevels = 0) {
  return groups.flatMap((frames) => {
    const keys = (interViewLevels ? pairOrder(frames, interval, interViewLevels) : keyOrder(frames, interval)).map((key) => ({
      ...key,
      frame: first + key.frame,
      references: key.references.map((reference) => first + reference),
    }));
    first += keys.length;
    return keys;
  });
}

/** How many keys each span has, whose sectors lie together: a root or a P key, or the B keys behind one. @param {Key[]} keys */
export function spansOf(keys) {
  /** @type {number[]} */
  const counts = [];
  keys.forEach(({ level }, index) => {
    if (level < 2 || keys[index - 1].level < 2) counts.push(0);
    counts[counts.length - 1]++;
  });
  return counts;
}

/**
 * The chunks of a picture's key and of all that predicts it, in the order of coding.
 * @param {import("./segments.js").MotionSegment} segment @param {number} picture
 */
export function ancestry({ keys, chunkOfPicture }, picture) {
  /** @type {Set<number>} */
  const found = new Set();
  const add = (/** @type {number} */ each) => {
    const chunk = /** @type {number} */ (chunkOfPicture.get(each));
    if (found.has(chunk)) return;
    found.add(chunk);
    keys[chunk].references.forEach(add);
  };
  add(picture);
  return [...found].sort((a, b) => a - b);
}
