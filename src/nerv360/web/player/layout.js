/** Latents in time: their keys, the groups of keys that share a chunk, and the weights of keys. */

/**
 * @typedef {{stride: number, channels: number, keyInterval: number, motion: boolean, rows: number, columns: number}} Latent
 *   keyInterval: frames; 0: one key for the whole segment
 * @typedef {{latent: number, firstKey: number, keys: number}} KeyGroup consecutive keys of a latent, coded as one chunk
 */

/** @typedef {import("./segments.js").NetworkSegment} NetworkSegment */

const keyCount = (/** @type {number} */ keyInterval, /** @type {number} */ frames) =>
  keyInterval === 0 ? 1 : Math.ceil(frames / keyInterval);

/** The frame of a key: the middle of its share of the frames. All keys have equal shares. */
export const keyFrameIndex = (/** @type {number} */ keyInterval, /** @type {number} */ key, /** @type {number} */ frames) =>
  Math.floor(((2 * key + 1) * frames) / (2 * keyCount(keyInterval, frames)));

/**
 * The keys that a frame is interpolated from, with their weights: the two around it, or the nearest one beyond the ends.
 * @param {number} keyInterval @param {number} frame @param {number} frames of the segment @returns {[number, number][]}
 */
export function interpolationWeights(keyInterval, frame, frames) {
  const count = keyCount(keyInterval, frames);
  const key = Math.floor((Math.floor((2 * count * (frame + 1) - 1) / frames) - 1) / 2); // the last one not after the frame
  if (key < 0 || key === count - 1) return [[Math.max(0, key), 1]];
  const before = keyFrameIndex(keyInterval, key, frames);
  const weight = (frame - before) / (keyFrameIndex(keyInterval, key + 1, frames) - before);
  return weight ? [[key, 1 - weight], [key + 1, weight]] : [[key, 1]];
}

const keysPerGroup = (/** @type {number} */ keyInterval, /** @type {number} */ groupSize) =>
  Math.max(1, Math.floor(groupSize / Math.max(1, keyInterval)));

/** In the order of the file: by the first frame that needs a key group, then by latent. @returns {KeyGroup[]} */
export function keyGroupsOf(/** @type {Latent[]} */ latents, /** @type {number} */ frames, /** @type {number} */ groupSize) {
  /** @type {(KeyGroup & {firstNeeded: number})[]} */
  const groups = [];
  latents.forEach(({ keyInterval }, latent) => {
    const count = keyCount(keyInterval, frames);
    const step = keysPerGroup(keyInterval, groupSize);
    for (let firstKey = 0; firstKey < count; firstKey += step)
      groups.push({
        firstNeeded: firstKey && keyFrameIndex(keyInterval, firstKey - 1, frames) + 1,
        latent,
        firstKey,
        keys: Math.min(step, count - firstKey),
      });
  });
  return groups.sort((a, b) => a.firstNeeded - b.firstNeeded);
}

/** The index of the chunk that holds a key of a latent. */
export function chunkOfKey(/** @type {NetworkSegment} */ segment, /** @type {number} */ latent, /** @type {number} */ key) {
  const step = keysPerGroup(segment.latents[latent].keyInterval, segment.groupSize);
  return 2 + segment.keyGroups.findIndex((group) => group.latent === latent && group.firstKey === key - (key % step));
}

/** The chunks that a frame of the video needs: the weights, the tables, and the key groups around the frame. */
export function chunksOfFrame(/** @type {NetworkSegment} */ segment, /** @type {number} */ frame) {
  const needed = [0, 1];
  segment.latents.forEach((latent, index) => {
    for (const [key] of interpolationWeights(latent.keyInterval, frame - segment.firstFrame, segment.frames)) needed.push(chunkOfKey(segment, index, key));
  });
  return [...new Set(needed)];
}
