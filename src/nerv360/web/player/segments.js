/** The segments of a file: what the header of each says, by its model. */

import { BrokenFile } from "./errors.js";
import { keysOfGroups, spansOf } from "./key-order.js";
import { chunksOfFrame, keyGroupsOf } from "./layout.js";

/**
 * @typedef {import("./key-order.js").Key} Key
 * @typedef {import("./layout.js").Latent} Latent
 * @typedef {import("./layout.js").KeyGroup} KeyGroup
 * @typedef {{start: number, length: number, checksum: number}} Chunk bytes of the file
 * @typedef {{index: number, firstFrame: number, frames: number}} Place which segment it is, and its frames
 * @typedef {{model: string, channels: number[], strides: number[], kernels: number[], embeddingChannels: number,
 *   expandFirst: boolean, conditions: string[], base: number, frequencies: number, oriented: boolean, lastBlock: string}} NetworkHeader
 * @typedef {Place & {kind: "network", network: NetworkHeader, eyes: 1, groupSize: number, latents: Latent[], keyGroups: KeyGroup[],
 *   chunks: Chunk[]}} NetworkSegment
 * @typedef {{first: number, count: number, lengths: Chunk, sectors: Chunk}} Span keys whose sectors lie together
 * @typedef {Place & {kind: "motion", eyes: number, sector: number, steps: number[], groups: number[], keys: Key[],
 *   chunkOfPicture: Map<number, number>, chunks: Chunk[], spans: Span[], spanOfKey: number[]}} MotionSegment keys: of every chunk,
 *   with frames of the video, or the pictures of two eyes; groups: frames of each, of which all chunks of the left eye come first;
 *   sector: pixels each way, or 0: then there are no spans
 * @typedef {NetworkSegment | MotionSegment} Segment
 * @typedef {{first: number, end: number, chunks: number[]}} FrameGroup frames of the video, up to `end`, and what they need
 */

// The only place that decides by a model's name: what reads its header, and the version of the first files that have it.
const NETWORK = { read: readNetworkSegment, version: 5 };
/** @type {Record<string, {read: (fields: any[], place: Place, start: number, width: number, height: number) => Segment, version: number}>} */
const MODELS = {
  "nerv360-grid": NETWORK,
  nerv360: NETWORK,
  hnerv: NETWORK,
  "hnerv-boost": NETWORK,
  "nerv360-motion": { read: readMotionSegment, version: 7 },
};

const MAX_INTERVAL = 64; // frames
const MAX_GROUP = 256; // frames
const MAX_STEP = 65535;
const MAX_LEVELS = 16;
const SECTOR_UNIT = 64; // pixels
const SECTORS_VERSION = 14; // of files with sectors
const MAX_SECTOR = 16384;

const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);
const sum = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a + b, 0);

/**
 * @param {any[]} fields of the header @param {Place} place @param {number} start of the chunks, in the file
 * @param {{version: number, width: number, height: number, eyes: number}} file @returns {Segment}
 */
export function readSegment(fields, place, start, { version, width, height, eyes }) {
  const name = String(fields[0]);
  if (!Object.hasOwn(MODELS, name)) throw new BrokenFile(`The file is of the model ${name.slice(0, 32)}, which this player does not know.`);
  const model = MODELS[name];
  check(version >= model.version, `a segment of ${name} in a file of version ${version}`);
  const segment = model.read(fields, place, start, width, height);
  check(segment.kind === "network" || !segment.sector || version >= SECTORS_VERSION, `a segment of ${name} with sectors in a file of version ${version}`);
  check(segment.eyes === eyes, `a segment of ${segment.eyes} eyes in a file of ${eyes}`);
  return segment;
}

/** @param {any[]} fields @param {Place} place @param {number} start @param {number} width @param {number} height @returns {NetworkSegment} */
function readNetworkSegment(fields, place, start, width, height) {
  const [model, channels, encoderStrides, strides, kernels, embeddingChannels, expandFirst, conditions, base, frequencies] = fields;
  const [groupSize, grids, oriented, table, lastBlock = "full"] = fields.slice(14);
  const shapes = grids.length ? grids : [[product(encoderStrides), embeddingChannels, 1, false]];
  const latents = shapes.map((/** @type {[number, number, number, boolean]} */ [stride, count, keyInterval, motion]) => ({
    stride, channels: count, keyInterval, motion, rows: Math.ceil(height / stride), columns: 2 * Math.ceil(width / (2 * stride)),
  }));
  const network = { model, channels, strides, kernels, embeddingChannels, expandFirst, conditions, base, frequencies, oriented, lastBlock };
  const keyGroups = keyGroupsOf(latents, place.frames, groupSize);
  check(table.length === keyGroups.length + 2, "it has a wrong number of chunks");
  return { ...place, kind: "network", eyes: 1, network, groupSize, latents, keyGroups, chunks: readChunks(table, start) };
}

/** @param {any[]} fields @param {Place} place @param {number} start @returns {MotionSegment} */
function readMotionSegment(fields, place, start) {
  const [interval, groups, steps, table, interViewLevels = null, sector = 0] = fields.slice(4);
  check(areIntegers([interval], MAX_INTERVAL), `an interval of ${interval} frames between keys`);
  check(areIntegers(groups, MAX_GROUP), "an impossible group of keys");
  check(areIntegers(steps, MAX_STEP), "an impossible step of a quantiser");
  check(sum(groups) === place.frames, `its groups hold ${sum(groups)} frames, the segment has ${place.frames}`);
  check(interViewLevels === null || areIntegers([interViewLevels], MAX_LEVELS), "an impossible number of levels of two eyes");
  const eyes = interViewLevels === null ? 1 : 2;
  check(sector === 0 || (areIntegers([sector], MAX_SECTOR) && sector % SECTOR_UNIT === 0), "an impossible size of sectors");
  const keys = keysOfGroups(groups, interval, eyes * place.firstFrame, interViewLevels ?? 0);
  const counts = sector ? spansOf(keys) : [];
  const needed = keys.length + 2 * counts.length;
  check(table?.length === needed, `${place.frames} frames need ${needed} chunks, the segment has ${table?.length}`);
  const levels = 1 + keys.reduce((deepest, { level }) => Math.max(deepest, level), 0);
  check(steps.length >= levels, `its keys have ${levels} levels, and ${steps.length} steps`);
  const chunkOfPicture = new Map(keys.map(({ frame }, chunk) => [frame, chunk]));
  const all = readChunks(table, start);
  const spans = splitIntoSpans(all, counts);
  const chunks = sector ? spans.flatMap(({ first, count }, span) => all.slice(first + 2 * span, first + 2 * span + count)) : all;
  const spanOfKey = spans.flatMap(({ count }, span) => Array(count).fill(span));
  return { ...place, kind: "motion", eyes, sector, steps, groups, keys, chunkOfPicture, chunks, spans, spanOfKey };
}

/** @param {Chunk[]} chunks of keys, of which those of lengths and of sectors lie behind each span @param {number[]} counts keys of each */
function splitIntoSpans(chunks, counts) {
  let first = 0;
  return counts.map((count, span) => {
    const behind = first + count + 2 * span;
    first += count;
    return { first: first - count, count, lengths: chunks[behind], sectors: chunks[behind + 1] };
  });
}

/** The frames of a segment that are fetched together, of the left eye. @param {Segment} segment @returns {FrameGroup[]} */
export function frameGroupsOf(segment) {
  const lengths = segment.kind === "motion" ? segment.groups : Array(Math.ceil(segment.frames / segment.groupSize)).fill(segment.groupSize);
  let end = segment.firstFrame;
  return lengths.map((length) => {
    const first = end;
    end = Math.min(end + length, segment.firstFrame + segment.frames);
    return { first, end, chunks: chunksOfFrames(segment, first, end) };
  });
}

/** @param {Segment} segment @param {number} first @param {number} end */
function chunksOfFrames(segment, first, end) {
  if (segment.kind === "network") return [...chunksOfFrame(segment, first), ...chunksOfFrame(segment, end - 1)];
  return Array.from({ length: end - first }, (_, i) => segment.eyes * (first - segment.firstFrame) + i); // a key each
}

/** @param {any} values @param {number} most */
const areIntegers = (values, most) =>
  Array.isArray(values) && values.every((value) => Number.isInteger(value) && 1 <= value && value <= most);

/** @param {[number, number][]} table @param {number} start @returns {Chunk[]} one behind the other */
function readChunks(table, start) {
  return table.map(([length, checksum]) => {
    start += length;
    return { start: start - length, length, checksum };
  });
}

/** @param {boolean} right @param {string} wrong what the file has instead */
function check(right, wrong) {
  if (!right) throw new BrokenFile(`The file is damaged: ${wrong}.`);
}
