/**
 * Probability models of integers: Laplace distributions with heavy tails, as tables of integer frequencies
 * (docs/bitstream.md). A model has a scale, and a fraction: where its mean lies beside the middle symbol. Tested against the
 * Python package.
 */

export const SCALES = 40;
export const FRACTIONS = 8; // the mean lies (f - 4) / 8 beside the middle symbol
export const MAX_SYMBOL = 255; // symbols -MAX_SYMBOL..MAX_SYMBOL; the outermost are escapes
const FREQUENCY_SUM = 2 ** 24;
const TAIL_SCALE = 8; // steps of scale: one symbol in 32 is of the distribution that is so much wider

/** round(2^32 exp(-1 / (8 b))) of every scale: numbers, for exponentials differ between machines. */
const DECAYS = [
  253857248, 398132550, 581260615, 799036310, 1044178424, 1307656790, 1580030169, 1852521207,
  2117713904, 2369882518, 2605029347, 2820730047, 3015876649, 3190386796, 3344923893, 3480652712,
  3599040369, 3701703250, 3790295335, 3866431115, 3931635878, 3987316692, 4034748382, 4075069962,
  4109287957, 4138284039, 4162825044, 4183574096, 4201101925, 4215897841, 4228380000, 4238904802,
  4247775344, 4255248918, 4261543595, 4266843974, 4271306145, 4275061981, 4278222805, 4280882540,
];

/** The index of a model; by default its mean is 0. */
export const modelIndex = (/** @type {number} */ scale, fraction = FRACTIONS / 2) => FRACTIONS * scale + fraction;

/** Frequencies of the symbols -MAX_SYMBOL..MAX_SYMBOL, out of 2^24; each is at least 1. @param {number} model its index */
export function frequencies(model) {
  const fraction = model % FRACTIONS;
  const scale = (model - fraction) / FRACTIONS;
  const body = laplaceFrequencies(scale, fraction);
  const tailScale = scale && Math.min(scale + TAIL_SCALE, SCALES - 1); // the least scale is for what is certain
  const tail = laplaceFrequencies(tailScale, fraction);
  const table = body.map((count, symbol) => 1 + ((31 * count + tail[symbol]) >>> 5));
  table[MAX_SYMBOL] = 0;
  table[MAX_SYMBOL] = FREQUENCY_SUM - table.reduce((sum, count) => sum + count, 0);
  return table;
}

/** Frequencies of a Laplace distribution, all but that of its middle symbol. @param {number} scale @param {number} fraction */
function laplaceFrequencies(scale, fraction) {
  const decay = DECAYS[scale] / 2 ** 32; // over an eighth
  let ratio = decay * decay;
  ratio *= ratio;
  ratio *= ratio; // over a whole step
  const table = new Int32Array(2 * MAX_SYMBOL + 1);
  for (const [side, eighths] of [[1, FRACTIONS - fraction], [-1, fraction]]) {
    let rest = 0.5 * (FREQUENCY_SUM - (2 * MAX_SYMBOL + 1));
    for (let i = 0; i < eighths; i++) rest *= decay;
    for (let distance = 1; distance < MAX_SYMBOL; distance++) {
      table[MAX_SYMBOL + side * distance] = Math.floor(rest * (1 - ratio));
      rest *= ratio;
    }
    table[MAX_SYMBOL + side * MAX_SYMBOL] = Math.floor(rest);
  }
  return table;
}
