/** ONNX Runtime Web: its scripts, and its WebAssembly, which is transferred compressed. */

import { download, importModule } from "../download.js";
import { BrokenFile } from "../errors.js";

/** @typedef {"wasm" | "webgpu"} Provider what the runtime computes on */
/** @typedef {{received: number, total: number | null}} Progress bytes of the WebAssembly; total: where the server tells it */

const FILES = {
  wasm: { api: "ort.wasm.min.js", module: "ort-wasm-simd-threaded.js", binary: "ort-wasm-simd-threaded.wasm.gz" },
  webgpu: { api: "ort.jspi.min.js", module: "ort-wasm-simd-threaded.jspi.js", binary: "ort-wasm-simd-threaded.jspi.wasm.gz" },
};
const WHAT = "The decoder (ONNX Runtime)";

const importScript = (/** @type {string} */ name) => importModule(() => import(addressOf(name)), addressOf(name), WHAT);
const addressOf = (/** @type {string} */ name) => new URL(`../onnxruntime/${name}`, import.meta.url).href;

/**
 * Load the runtime. Once this has failed, it takes another worker. Throws ServerGone, or BrokenFile for a damaged site.
 * @param {Provider} provider @param {number} threads @param {(progress: Progress | null) => void} report null: at the end
 * @returns {Promise<any>} the module `onnxruntime-web`
 */
export async function loadRuntime(provider, threads, report) {
  const { api, module, binary } = FILES[provider];
  try {
    const [ort, wasmBinary] = await Promise.all([
      importScript(api),
      downloadBinary(addressOf(binary), report),
      importScript(module), // which the runtime imports itself, but cannot say why it fails
    ]);
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = { mjs: addressOf(module) };
    ort.env.wasm.wasmBinary = wasmBinary;
    return ort;
  } finally {
    report(null);
  }
}

/** @param {string} address @param {(progress: Progress) => void} report */
async function downloadBinary(address, report) {
  const { data } = await download(address, WHAT, {}, (received, total) => report({ received, total }));
  if (data[0] !== 0x1f || data[1] !== 0x8b) return data.buffer; // of a server that declares the compression: unpacked already
  const unpacked = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).arrayBuffer().catch(() => {
    throw new BrokenFile(`${WHAT} cannot be read: its file is damaged.`);
  });
}
