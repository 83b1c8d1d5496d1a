/** What of a file to ask for next: the most urgent first, no more than the line carries soon, and nothing that comes too late. */

/**
 * @typedef {object} Wish
 * @property {number} start of the bytes in the file @property {number} length
 * @property {number} rank what counts less comes first
 * @property {number} useful milliseconds, after which it is not
 */

const AHEAD = 100; // milliseconds of the line that are asked for: what is, cannot be taken back

/** The ranks of keys, and of the sectors that next frames take: between, by their distance in pixels from the middle of the view. */
export const RANKS = { base: -1, laterBase: 1e9 };

/**
 * @param {Wish[]} wishes of which some may be the same @param {import("../line-estimate.js").LineEstimate} line @param {number} coming bytes that are asked for already
 * @returns {Wish[]} what to ask for now; nothing where the line is busy
 */
export function choose(wishes, line, coming) {
  /** @type {Map<number, Wish>} */
  const chosen = new Map(); // by their places in the file
  let bytes = coming;
  for (const wish of [...wishes].sort((a, b) => a.rank - b.rank)) {
    if (bytes >= line.rate * (line.latency + AHEAD)) break;
    if (chosen.has(wish.start) || line.duration(bytes + wish.length) > wish.useful) continue;
    chosen.set(wish.start, wish);
    bytes += wish.length;
  }
  return [...chosen.values()];
}
