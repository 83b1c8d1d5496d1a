/** Frames that this browser decodes itself, in a worker: with WebGL, WebGPU or WebAssembly. */

import { SILENT_MS } from "./download.js";
import { BrokenFile, ServerGone, Unsupported } from "./errors.js";

/**
 * @typedef {object} BackendHost what a backend tells
 * @property {(progress: import("./onnx/runtime.js").Progress | null) => void} report of loading the runtime
 * @property {() => void} late a script has not come for a while, which may be slow or not come at all
 * @property {(ranges: [number, number][]) => void} buffered frames whose bytes are there: first ones and ends
 */

const KINDS = { broken: BrokenFile, gone: ServerGone, unsupported: Unsupported };

/**
 * Whether this browser has WebGPU as ONNX Runtime needs it, and whether on a real graphics processor.
 * @returns {Promise<"hardware" | "software" | null>}
 */
export async function webGPU() {
  const { gpu } = /** @type {any} */ (navigator);
  if (!gpu || !("Suspending" in WebAssembly)) return null;
  const adapter = await gpu.requestAdapter().catch(() => null);
  if (!adapter) return null;
  return adapter.info.isFallbackAdapter || adapter.info.architecture === "swiftshader" ? "software" : "hardware";
}

/** Whether WebGL 2 is computed by a graphics processor. */
export function webGL() {
  const gl = document.createElement("canvas").getContext("webgl2");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const renderer = String(gl?.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER) ?? "");
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return gl && !/swiftshader|llvmpipe|software|basic render/i.test(renderer) ? "hardware" : "software";
}

export class BrowserBackend {
  bytes = 0;
  description = "";
  lost = false; // for good: another backend has to be opened
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */ #pending = new Map();
  #nextId = 0;
  #worker = startWorker();
  #lateTimer = 0; // until the worker has come

  /**
   * @param {import("./player.js").Manifest} manifest @param {URL} base that its names are relative to
   * @param {import("./worker.js").Provider} provider @param {number} threads of WebAssembly; 0: as many as the machine has
   * @param {BackendHost} host @param {AbortSignal} signal closes it, opened or not
   */
  static async open(manifest, base, provider, threads, host, signal) {
    if (typeof WebAssembly !== "object") throw new Unsupported("This browser has no WebAssembly, which decodes the picture.");
    const backend = new BrowserBackend(host);
    signal.addEventListener("abort", () => backend.close());
    try {
      const { description } = await backend.#send({ task: "open", manifest, base: base.href, provider, threads });
      backend.description = description;
      return backend;
    } catch (error) {
      backend.close();
      throw error;
    }
  }

  /** @param {BackendHost} host */
  constructor(host) {
    const isLate = () => {
      this.lost = true; // a script that is asked for again is waited for again, in this worker
      host.late();
    };
    this.#lateTimer = window.setInterval(isLate, SILENT_MS);
    this.#worker.onmessage = ({ data: { id, answer, error, lost, progress, late, buffered } }) => {
      window.clearInterval(this.#lateTimer);
      if (late) return isLate();
      if (progress !== undefined) return host.report(progress);
      if (buffered) return host.buffered(buffered);
      this.lost ||= Boolean(lost);
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (error) pending?.reject(new KINDS[/** @type {keyof typeof KINDS} */ (error.kind)](error.message));
      else pending?.resolve(answer);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      window.clearInterval(this.#lateTimer);
      this.lost = true;
      this.#rejectAll(event.message ? new Unsupported(event.message) : new ServerGone()); // without one: it did not come
    };
  }

  /**
   * @param {import("./player.js").ViewRequest} request
   * @returns {Promise<import("./player.js").Decoded>}
   */
  async decode({ frame, view, moving, eyes }) {
    const { picture, right, milliseconds, bytes, rough, preview, facts } = await this.#send({ task: "decode", frame, view, moving, eyes });
    this.bytes = bytes;
    const network = preview ? this.#send({ task: "ready", frame }) : null;
    return { picture, right, milliseconds, rough, network, facts };
  }

  close() {
    window.clearInterval(this.#lateTimer);
    this.#worker.onmessage = null;
    this.#worker.terminate();
    this.#rejectAll(new ServerGone()); // who waits would wait for ever
  }

  /** @param {Error} error for all that is being waited for */
  #rejectAll(error) {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  /** @param {object} message @returns {Promise<any>} */
  #send(message) {
    const id = this.#nextId++;
    this.#worker.postMessage({ id, ...message });
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }
}

/** Browsers refuse a worker of another origin, such as a CDN, but not one that imports it. */
function startWorker() {
  if (new URL(import.meta.url).origin === location.origin) return new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  const { href } = new URL("worker.js", import.meta.url);
  const script = new Blob([`import ${JSON.stringify(href)};`], { type: "text/javascript" });
  return new Worker(URL.createObjectURL(script), { type: "module" });
}
