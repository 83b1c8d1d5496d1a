/** Laplace distributions with wide tails, as tables of integers (docs/bitstream.md, "Classes"). Tested against nerv360.bitstream.laplace. */

export const SCALES = 40;
export const FRACTIONS = 8; // the mean lies (f - 4) / 8 beside the middle symbol
export const REACH = 255; // symbols -REACH..REACH; the outermost stand for all beyond
const TOTAL = 2 ** 24;
const WIDE = 8; // one in 32 follows the distribution of the scale that is so many greater

/** round(2^32 exp(-1 / (8 b))) of every scale: numbers, for exponentials differ between machines. */
const DECAYS = [
  253857248, 398132550, 581260615, 799036310, 1044178424, 1307656790, 1580030169, 1852521207,
  2117713904, 2369882518, 2605029347, 2820730047, 3015876649, 3190386796, 3344923893, 3480652712,
  3599040369, 3701703250, 3790295335, 3866431115, 3931635878, 3987316692, 4034748382, 4075069962,
  4109287957, 4138284039, 4162825044, 4183574096, 4201101925, 4215897841, 4228380000, 4238904802,
  4247775344, 4255248918, 4261543595, 4266843974, 4271306145, 4275061981, 4278222805, 4280882540,
];

/** The number of a class; by default the mean is 0. */
export const classOf = (/** @type {number} */ scale, fraction = FRACTIONS / 2) => FRACTIONS * scale + fraction;

/** How often each symbol -REACH..REACH of a class occurs, out of 2^24; every count is at least 1. @param {number} number */
export function counts(number) {
  const fraction = number % FRACTIONS;
  const scale = (number - fraction) / FRACTIONS;
  const narrow = sides(scale, fraction);
  const wide = sides(scale && Math.min(scale + WIDE, SCALES - 1), fraction); // the least is for what is certain
  const table = narrow.map((count, symbol) => 1 + ((31 * count + wide[symbol]) >>> 5));
  table[REACH] = 0;
  table[REACH] = TOTAL - table.reduce((sum, count) => sum + count, 0);
  return table;
}

/** A Laplace distribution, but for its middle. @param {number} scale @param {number} fraction */
function sides(scale, fraction) {
  const decay = DECAYS[scale] / 2 ** 32; // over an eighth
  let ratio = decay * decay;
  ratio *= ratio;
  ratio *= ratio; // over a whole step
  const table = new Int32Array(2 * REACH + 1);
  for (const [side, eighths] of [[1, FRACTIONS - fraction], [-1, fraction]]) {
    let tail = 0.5 * (TOTAL - (2 * REACH + 1));
    for (let i = 0; i < eighths; i++) tail *= decay;
    for (let distance = 1; distance < REACH; distance++) {
      table[REACH + side * distance] = Math.floor(tail * (1 - ratio));
      tail *= ratio;
    }
    table[REACH + side * REACH] = Math.floor(tail);
  }
  return table;
}
