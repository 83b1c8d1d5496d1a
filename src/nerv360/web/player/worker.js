/** The worker in which views are decoded: answers the messages of browser-backend.js. */

import { Container } from "./container.js";
import { PlayerError, Unsupported } from "./errors.js";
import { FrameDecoder } from "./frame-decoder.js";
import { loadRuntime } from "./runtime.js";

const MAX_THREADS = 4;

/** @type {FrameDecoder | null} */
let decoder = null;
let lost = false; // ONNX Runtime is not loaded twice: it takes another worker

/** @param {{manifest: import("./player.js").Manifest, base: string, threads: number, provider: import("./runtime.js").Provider}} message */
async function open({ manifest, base, threads, provider }) {
  const ownOrigin = new URL(import.meta.url).origin === self.location.origin; // threads are workers of the runtime's origin
  const available = self.crossOriginIsolated && ownOrigin ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1) : 1;
  const count = threads > 0 ? Math.min(threads, available) : available;
  const runtime = loadRuntime(provider, count, (progress) => self.postMessage({ progress }));
  runtime.catch(() => (lost = true)); // whoever needs it is told why
  const container = await Container.open(new URL(manifest.video, base).href);
  const graphs = (manifest.networks ?? []).map((name) => new URL(name, base).href);
  decoder = new FrameDecoder(container, graphs, runtime, provider, () => (lost = true));
  return { description: provider === "webgpu" ? "WebGPU" : `WebAssembly, ${count} ${count === 1 ? "thread" : "threads"}` };
}

/** @param {{frame: number}} message */
async function ready({ frame }) {
  if (!decoder) throw new Unsupported("not open");
  await decoder.ready(frame);
  return { frame };
}

/** @param {{frame: number, view: import("./geometry.js").Viewport}} message */
async function decode({ frame, view }) {
  if (!decoder) throw new Unsupported("not open");
  const answer = await decoder.decode(frame, view);
  decoder.readAhead(frame).catch(() => {}); // what is missing then is asked for again
  return { ...answer, bytes: decoder.container.reader.received + decoder.received };
}

self.onmessage = async ({ data }) => {
  try {
    const answer = await { open, ready, decode }[/** @type {"open" | "ready" | "decode"} */ (data.task)](data);
    const transfer = "pixels" in answer ? [answer.pixels.buffer] : [];
    self.postMessage({ id: data.id, answer }, { transfer });
  } catch (error) {
    const kind = error instanceof PlayerError ? error.kind : "broken";
    self.postMessage({ id: data.id, error: { kind, message: error instanceof Error ? error.message : String(error) }, lost });
  }
};
