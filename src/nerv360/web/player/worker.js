/** The worker in which views are decoded: answers the messages of browser-backend.js. */

import { Container } from "./container.js";
import { importModule } from "./download.js";
import { PlayerError, Unsupported } from "./errors.js";

/**
 * @typedef {import("./segments.js").Segment} Segment
 * @typedef {import("./geometry.js").Viewport} Viewport
 * @typedef {{picture: import("./canvas.js").Drawable, right?: import("./canvas.js").WindowPixels | null, milliseconds: number,
 *   rough: boolean, preview: boolean, facts: Record<string, string>}} DecodedView right: of that eye, where both are asked for;
 *   rough: at rest the same view would look better; preview: it would once `ready`; facts: of the frame, for people
 * @typedef {object} SegmentDecoder of segments of one kind
 * @property {number} received bytes, beside those of the file
 * @property {(segment: any, frame: number, view: Viewport, moving: boolean, eyes: number) => Promise<DecodedView>} decode
 * @property {(segment: any) => Promise<void>} ready waits for what a preview is shown without
 * @property {(segment: any, frame: number) => Promise<void>} readAhead prepares for playing on
 * @typedef {import("./onnx/runtime.js").Provider | "webgl"} Provider what networks are drawn by
 * @typedef {{manifest: import("./player.js").Manifest, base: string, threads: number, provider: Provider}} Opening
 */

const MAX_THREADS = 4;

/** @type {Container | null} */
let container = null;
/** @type {Partial<Record<Segment["kind"], SegmentDecoder>>} */
let decoders = {};
let lost = false; // neither ONNX Runtime nor the core is loaded twice: that takes another worker

const lose = () => (lost = true);

/** @param {Opening} message */
async function open({ manifest, base, threads, provider }) {
  const decoding = manifest.decoders ?? [];
  const opening = Container.open(new URL(manifest.video, base).href);
  opening.catch(() => {}); // told below
  const count = threadsOf(threads);
  const graphs = manifest.networks.map((name) => (name === null ? "" : new URL(name, base).href));
  const openNetwork = () => (provider === "webgl" ? openGrids(opening) : openNetworks(opening, graphs, provider, count));
  const [network, motion] = await Promise.all([
    decoding.some((name) => name !== "motion") ? openNetwork() : undefined,
    decoding.includes("motion") ? openMotion(opening) : undefined,
  ]);
  container = await opening;
  decoders = { network, motion };
  const runtime = { webgl: "WebGL", webgpu: "WebGPU", wasm: `WebAssembly, ${count} ${count === 1 ? "thread" : "threads"}` }[provider];
  return { description: network ? runtime : "WebAssembly" };
}

/** @param {number} wished 0: as many as the machine has */
function threadsOf(wished) {
  const ownOrigin = new URL(import.meta.url).origin === self.location.origin; // threads are workers of the runtime's origin
  const available = self.crossOriginIsolated && ownOrigin ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1) : 1;
  return wished > 0 ? Math.min(wished, available) : available;
}

/**
 * @param {Promise<Container>} opening @param {string[]} graphs @param {import("./onnx/runtime.js").Provider} provider
 * @param {number} threads @returns {Promise<SegmentDecoder>}
 */
async function openNetworks(opening, graphs, provider, threads) {
  const address = new URL("./onnx/network-decoder.js", import.meta.url);
  const { NetworkDecoder } = await importModule(() => import("./onnx/network-decoder.js"), address, "The decoder");
  return NetworkDecoder.open(opening, graphs, provider, threads, (/** @type {unknown} */ progress) => self.postMessage({ progress }), lose);
}

/** @param {Promise<Container>} opening @returns {Promise<SegmentDecoder>} */
async function openGrids(opening) {
  const address = new URL("./grid/grid-decoder.js", import.meta.url);
  const { GridDecoder } = await importModule(() => import("./grid/grid-decoder.js"), address, "The decoder");
  return GridDecoder.open(opening);
}

/** @param {Promise<Container>} opening @returns {Promise<SegmentDecoder>} */
async function openMotion(opening) {
  const address = new URL("./motion/motion-decoder.js", import.meta.url);
  const { MotionDecoder } = await importModule(() => import("./motion/motion-decoder.js"), address, "The decoder");
  return MotionDecoder.open(opening, lose);
}

/** What decodes the segment of a frame. @param {number} frame */
async function decoderOf(frame) {
  if (!container) throw new Unsupported("not open");
  const segment = await container.segmentOf(frame);
  const decoder = decoders[segment.kind];
  if (!decoder) throw new Unsupported("The video is another one by now.");
  return { segment, decoder, file: container };
}

/** @param {{frame: number}} message */
async function ready({ frame }) {
  const { segment, decoder } = await decoderOf(frame);
  await decoder.ready(segment);
  return { frame };
}

/** @param {{frame: number, view: Viewport, moving: boolean, eyes: number}} message */
async function decode({ frame, view, moving, eyes }) {
  const { segment, decoder, file } = await decoderOf(frame);
  const answer = await decoder.decode(segment, frame, view, moving, eyes);
  const ahead = decoder.readAhead(segment, frame).catch(() => {}); // what is missing then is asked for again
  ahead.then(() => tellBuffered(file));
  const received = Object.values(decoders).reduce((bytes, each) => bytes + (each?.received ?? 0), file.reader.received);
  const [fetched, size] = [file.reader.received, file.reader.size];
  const part = `${(fetched / 1000).toFixed(0)} of ${(size / 1000).toFixed(0)} kB, ${((100 * fetched) / size).toFixed(0)} %`;
  return { ...answer, bytes: received, facts: { ...answer.facts, Fetched: part } };
}

let toldAt = 0; // bytes received

/** Tell the page what is there of the file, once there is more. @param {Container} file */
function tellBuffered(file) {
  if (file.reader.received === toldAt) return;
  toldAt = file.reader.received;
  self.postMessage({ buffered: file.buffered });
}

/** @param {import("./canvas.js").Drawable} picture */
const transferable = (picture) => ("pixels" in picture ? picture.pixels.buffer : picture);

self.postMessage({}); // it has come

self.onmessage = async ({ data }) => {
  try {
    const answer = await { open, ready, decode }[/** @type {"open" | "ready" | "decode"} */ (data.task)](data);
    self.postMessage({ id: data.id, answer }, { transfer: "picture" in answer ? [answer.picture, answer.right].flatMap((each) => (each ? [transferable(each)] : [])) : [] });
  } catch (error) {
    const kind = error instanceof PlayerError ? error.kind : "broken";
    lost ||= error instanceof Unsupported;
    self.postMessage({ id: data.id, error: { kind, message: error instanceof Error ? error.message : String(error) }, lost });
  }
};
