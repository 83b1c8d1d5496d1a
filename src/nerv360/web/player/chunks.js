/** The chunks of a segment -> numbers: weights, latent tables, camera angles, parts (nerv360.codec.chunks, reading). */

import { readContexts, readLatent } from "./contexts.js";
import { Bytes, Reader } from "./entropy.js";
import { BrokenFile } from "./errors.js";
import { SCALES, classOf } from "./laplace.js";

/**
 * @typedef {import("./container.js").Segment} Segment
 * @typedef {{offset: number, step: number}} Scaling
 * @typedef {{scalings: Scaling[], contexts: import("./contexts.js").Contexts,
 *   angles: import("./geometry.js").Angles[] | null}} Tables what latents are read with; a scaling of every channel of all
 * @typedef {Map<string, Float32Array>} Weights name -> tensor, row by row
 */

const GRID_SCALING = { offset: 0, step: 1 / 16 };
const EIGHTHS = [ // 2^(i / 8): numbers, for powers differ between machines
  1, 1.0905077326652577, 1.189207115002721, 1.2968395546510096, 1.4142135623730951, 1.5422108254079407, 1.681792830507429, 1.8340080864093424,
];

const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);

/** Name -> shape of all tensors, in the order of the file. @param {import("./container.js").Network & {latents: import("./container.js").Latent[]}} network @returns {Map<string, number[]>} */
export function tensorShapes({ model, channels, strides, kernels, embeddingChannels, conditions, frequencies, lastBlock, latents }) {
  /** @type {Map<string, number[]>} */
  const shapes = new Map();
  const layer = (/** @type {string} */ name, /** @type {number[]} */ ...shape) => {
    shapes.set(`${name}.weight`, shape);
    shapes.set(`${name}.bias`, [shape[0]]);
  };
  const residual = (/** @type {string} */ name, /** @type {number} */ width) => {
    for (const half of [0, 1]) {
      for (const branch of ["scale", "shift"]) {
        layer(`${name}.affine${half}.${branch}.0`, 32, 32);
        layer(`${name}.affine${half}.${branch}.2`, width, 32);
      }
      layer(`${name}.conv${half}`, width, width, 3, 3);
    }
  };
  if (model === "nerv360-grid") {
    const entering = (/** @type {number} */ stride) => latents.filter((l) => l.stride === stride && !l.motion).reduce((n, l) => n + l.channels, 0);
    layer("expand", channels[0], entering(product(strides)), 1, 1);
    shapes.set("to_rgb.weight", [3, entering(product(strides)), 1, 1]);
    strides.forEach((stride, i) => {
      layer(`stages.${i}.conv`, channels[i + 1] * stride ** 2, channels[i], kernels[i], kernels[i]);
      const here = entering(product(strides.slice(i + 1)));
      if (!here) return;
      shapes.set(`stages.${i}.project.weight`, [channels[i + 1], here, 1, 1]);
      shapes.set(`stages.${i}.to_rgb.weight`, [3, here, 1, 1]);
    });
  } else {
    for (const [stem, inputs] of /** @type {const} */ ([["time_stem", 1], ["view_stem", 1 + conditions.length]])) {
      layer(`${stem}.hidden`, 64, 2 * frequencies * inputs);
      layer(`${stem}.output`, 32, 64);
    }
    layer("expand.block.conv", channels[0], embeddingChannels, 1, 1);
    residual("expand.residual", channels[0]);
    strides.forEach((stride, i) => {
      layer(`stages.${i}.block.conv`, channels[i + 1] * stride ** 2, channels[i], kernels[i], kernels[i]);
      const block = i === strides.length - 1 ? lastBlock : "full";
      if (block !== "none") residual(`stages.${i}.residual`, block === "half" ? channels[i] : channels[i + 1]);
    });
  }
  layer("head", 3, channels[channels.length - 1], 3, 3);
  return shapes;
}

/**
 * The weights, and all of them one behind the other.
 * @param {Uint8Array} data chunk 0 @param {Map<string, number[]>} shapes
 * @returns {{weights: Weights, all: Float32Array}}
 */
export function readWeights(data, shapes) {
  const bytes = new Bytes(data);
  const steps = bytes.take(shapes.size);
  const scales = bytes.take(shapes.size);
  if (Math.max(...scales) >= SCALES) throw new BrokenFile("The file is damaged: an impossible scale of weights.");
  const reader = new Reader(bytes.rest());
  const sizes = [...shapes.values()].map(product);
  const all = new Float32Array(sizes.reduce((a, b) => a + b));
  const weights = new Map();
  let end = 0;
  [...shapes.keys()].forEach((name, tensor) => {
    const step = EIGHTHS[steps[tensor] % 8] * 2 ** (Math.floor(steps[tensor] / 8) - 28);
    const integers = reader.read(new Uint16Array(sizes[tensor]).fill(classOf(scales[tensor])));
    const values = all.subarray(end, (end += sizes[tensor]));
    integers.forEach((integer, i) => (values[i] = step * integer));
    weights.set(name, values);
  });
  reader.finish();
  return { weights, all };
}

/**
 * Scalings and contexts of all channels, and the camera's angles [frames][3] in degrees where there are any.
 * @param {Uint8Array} data chunk 1 @param {Segment} segment @returns {Promise<Tables>}
 */
export async function readTables(data, { network, latents, frames }) {
  const bytes = new Bytes(data);
  const channels = latents.reduce((n, latent) => n + latent.channels, 0);
  const scalings = Array.from({ length: channels }, () => {
    if (network.model === "nerv360-grid") return GRID_SCALING;
    const scaling = bytes.view(8);
    return { offset: scaling.getFloat32(0, true), step: scaling.getFloat32(4, true) };
  });
  const contexts = readContexts(bytes.take(bytes.varint()), channels);
  return { scalings, contexts, angles: network.oriented ? await readAngles(bytes.rest().slice(), frames) : null };
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
 * Keys of a latent: [key][channel][row][column] in one array.
 * @param {Uint8Array} data @param {Segment} segment @param {import("./container.js").Part} part @param {Tables} tables
 */
export function readPart(data, { latents }, { latent, keys }, { scalings, contexts }) {
  const firstChannel = latents.slice(0, latent).reduce((n, { channels }) => n + channels, 0);
  const { channels, rows, columns } = latents[latent];
  const integers = readLatent(data, contexts, firstChannel, keys, latents[latent]);
  const values = new Float32Array(integers.length);
  for (let at = 0; at < values.length; ) {
    const { offset, step } = scalings[firstChannel + ((at / (rows * columns)) % channels)];
    for (const end = at + rows * columns; at < end; at++) values[at] = offset + step * integers[at];
  }
  return values;
}
