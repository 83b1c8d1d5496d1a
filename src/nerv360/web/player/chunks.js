/** The chunks of a segment -> numbers: weights, latent tables, camera angles, parts (nerv360.codec.chunks, reading). */

import { Bytes, decode, readTable } from "./entropy.js";
import { BrokenFile } from "./errors.js";

/**
 * @typedef {import("./container.js").Segment} Segment
 * @typedef {{least: number, step: number, table: import("./entropy.js").Table}} ChannelTable
 * @typedef {Map<string, Float32Array>} Weights name -> tensor, row by row
 */

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
    const entering = (/** @type {number} */ stride) => latents.filter((l) => l.stride === stride).reduce((n, l) => n + l.channels, 0);
    layer("expand", channels[0], entering(product(strides)), 1, 1);
    strides.forEach((stride, i) => {
      layer(`stages.${i}.conv`, channels[i + 1] * stride ** 2, channels[i], kernels[i], kernels[i]);
      const here = entering(product(strides.slice(i + 1)));
      if (here) shapes.set(`stages.${i}.project.weight`, [channels[i + 1], here, 1, 1]);
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
  const tables = [readTable(bytes), readTable(bytes), readTable(bytes)];
  const steps = (/** @type {number[]} */ shape) => (shape.length > 1 ? shape[0] : 1);
  const counts = [0, 0, 0];
  for (const shape of shapes.values()) {
    counts[0] += steps(shape);
    counts[shape.length > 1 ? 2 : 1] += product(shape);
  }
  const streams = decode(bytes.data.slice(bytes.at), [[counts[0], tables[0]], [counts[1], tables[1]], [counts[2], tables[2]]]);
  const all = new Float32Array(counts[1] + counts[2]);
  const at = [0, 0, 0];
  const weights = new Map();
  let end = 0;
  for (const [name, shape] of shapes) {
    const stream = shape.length > 1 ? 2 : 1;
    const size = product(shape);
    const row = size / steps(shape);
    for (let channel = 0; channel < steps(shape); channel++) {
      const step = 2 ** ((streams[0][at[0]++] - 224) / 8);
      for (let i = 0; i < row; i++) all[end++] = step * streams[stream][at[stream]++];
    }
    weights.set(name, all.subarray(end - size, end));
  }
  return { weights, all };
}

/**
 * Tables of every channel of every latent, and the camera's angles [frames][3] in degrees where there are any.
 * @param {Uint8Array} data chunk 1 @param {Segment} segment
 */
export async function readTables(data, segment) {
  const bytes = new Bytes(data);
  const tables = segment.latents.map(({ channels }) =>
    Array.from({ length: channels }, () => {
      const scaling = bytes.view(8);
      return { least: scaling.getFloat32(0, true), step: scaling.getFloat32(4, true), table: readTable(bytes) };
    }),
  );
  return { tables, angles: segment.network.oriented ? await readAngles(data.slice(bytes.at), segment.frames) : null };
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
 * @param {Uint8Array} data @param {ChannelTable[]} tables @param {number} keys @param {number} cells of a grid
 */
export function readPart(data, tables, keys, cells) {
  const channels = decode(data, tables.map(({ table }) => [keys * cells, table]));
  const values = new Float32Array(keys * tables.length * cells);
  channels.forEach((symbols, channel) => {
    const { least, step } = tables[channel];
    for (let key = 0; key < keys; key++) {
      const to = (key * tables.length + channel) * cells;
      for (let cell = 0; cell < cells; cell++) values[to + cell] = least + step * symbols[key * cells + cell];
    }
  });
  return values;
}
