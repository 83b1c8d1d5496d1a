/** The chunks of a segment, dequantised: weights, latent tables, camera angles and keys. */

import { ByteReader } from "../byte-reader.js";
import { readContextModel, readLatent } from "./context-model.js";
import { SymbolDecoder } from "./entropy.js";
import { BrokenFile } from "../errors.js";
import { SCALES, modelIndex } from "./laplace.js";

/**
 * @typedef {import("../segments.js").NetworkSegment} NetworkSegment
 * @typedef {{offset: number, step: number}} ChannelQuantizer value = offset + step * integer
 * @typedef {{quantizers: ChannelQuantizer[], contextModel: import("./context-model.js").ContextModel,
 *   angles: import("../geometry.js").Angles[] | null}} LatentTables for all channels of all latents; the camera's angles by frame
 * @typedef {Map<string, Float32Array>} Weights name -> tensor, row by row
 */

const GRID_QUANTIZER = { offset: 0, step: 1 / 16 };
const POWERS_OF_EIGHTHS = [ // 2^(i / 8): numbers, for powers differ between machines
  1, 1.0905077326652577, 1.189207115002721, 1.2968395546510096, 1.4142135623730951, 1.5422108254079407, 1.681792830507429, 1.8340080864093424,
];

const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);

/**
 * Read the weights: by name, and all in one array, in the order of the file.
 * @param {Uint8Array} data chunk 0 @param {Map<string, number[]>} shapes
 * @returns {{weights: Weights, all: Float32Array}}
 */
export function readWeights(data, shapes) {
  const bytes = new ByteReader(data);
  const steps = bytes.take(shapes.size);
  const scales = bytes.take(shapes.size);
  if (Math.max(...scales) >= SCALES) throw new BrokenFile("The file is damaged: an impossible scale of weights.");
  const decoder = new SymbolDecoder(bytes.rest());
  const sizes = [...shapes.values()].map(product);
  const all = new Float32Array(sizes.reduce((a, b) => a + b));
  const weights = new Map();
  let end = 0;
  [...shapes.keys()].forEach((name, tensor) => {
    const step = POWERS_OF_EIGHTHS[steps[tensor] % 8] * 2 ** (Math.floor(steps[tensor] / 8) - 28);
    const integers = decoder.decode(new Uint16Array(sizes[tensor]).fill(modelIndex(scales[tensor])));
    const values = all.subarray(end, (end += sizes[tensor]));
    integers.forEach((integer, i) => (values[i] = step * integer));
    weights.set(name, values);
  });
  decoder.finish();
  return { weights, all };
}

/**
 * Read the quantizers and the context model of all channels, and the camera's angles where it turns.
 * @param {Uint8Array} data chunk 1 @param {NetworkSegment} segment @returns {Promise<LatentTables>}
 */
export async function readTables(data, { network, latents, frames }) {
  const bytes = new ByteReader(data);
  const channels = latents.reduce((n, latent) => n + latent.channels, 0);
  const quantizers = Array.from({ length: channels }, () => {
    if (network.model === "nerv360-grid") return GRID_QUANTIZER;
    const quantizer = bytes.view(8);
    return { offset: quantizer.getFloat32(0, true), step: quantizer.getFloat32(4, true) };
  });
  const contextModel = readContextModel(bytes.take(bytes.varint()), channels);
  return { quantizers, contextModel, angles: network.oriented ? await readAngles(bytes.rest().slice(), frames) : null };
}

/** @param {Uint8Array<ArrayBuffer>} packed @param {number} frames */
async function readAngles(packed, frames) {
  const inflated = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = await new Response(inflated).arrayBuffer().catch(() => new ArrayBuffer(0));
  if (raw.byteLength !== 6 * frames) throw new BrokenFile("The file is damaged: impossible camera angles.");
  const differences = new DataView(raw);
  const angles = [0, 0, 0];
  return Array.from({ length: frames }, (_, frame) => {
    for (let i = 0; i < 3; i++) angles[i] = (angles[i] + differences.getUint16(6 * frame + 2 * i, true)) & 0xffff;
    const [yawDeg, pitchDeg, rollDeg] = angles.map((angle) => (angle < 32768 ? angle : angle - 65536) / 100);
    return { yawDeg, pitchDeg, rollDeg };
  });
}

/**
 * Read the keys of a group: [key][channel][row][column] in one array.
 * @param {Uint8Array} data @param {NetworkSegment} segment @param {import("../layout.js").KeyGroup} group @param {LatentTables} tables
 */
export function readKeyGroup(data, { latents }, { latent, keys }, { quantizers, contextModel }) {
  const firstChannel = latents.slice(0, latent).reduce((n, { channels }) => n + channels, 0);
  const { channels, rows, columns } = latents[latent];
  const integers = readLatent(data, contextModel, firstChannel, keys, latents[latent]);
  const values = new Float32Array(integers.length);
  for (let at = 0; at < values.length; ) {
    const { offset, step } = quantizers[firstChannel + ((at / (rows * columns)) % channels)];
    for (const end = at + rows * columns; at < end; at++) values[at] = offset + step * integers[at];
  }
  return values;
}
