/** H.264 as a server sends it while the view moves: one picture in, one picture out, by WebCodecs. */

const STALL_MS = 2000;

/**
 * How this browser decodes it; null where it does not. WebCodecs is there for pages from https: or from this machine only.
 * Hardware may hold a picture back until the next one comes, which here it does not, so software is asked for first.
 * @returns {Promise<VideoDecoderConfig | null>}
 */
export async function decoderConfig() {
  if (!("VideoDecoder" in globalThis)) return null;
  for (const hardwareAcceleration of /** @type {const} */ (["prefer-software", "no-preference"])) {
    const config = { codec: "avc1.42e01f", optimizeForLatency: true, hardwareAcceleration };
    if ((await VideoDecoder.isConfigSupported(config)).supported) return config;
  }
  return null;
}

export class H264Decoder {
  /** @type {VideoDecoder | null} */ #decoder = null;
  /** @type {{resolve: (frame: VideoFrame) => void, reject: (error: Error) => void}} */
  #pending = { resolve: (frame) => frame.close(), reject: () => {} };
  #timestamp = 0;

  /** @param {VideoDecoderConfig} config */
  constructor(config) {
    this.config = config;
  }

  /**
   * Rejects what cannot be decoded, or takes too long.
   * @param {Uint8Array<ArrayBuffer>} data of one picture, Annex B @param {boolean} key which begins anew
   * @returns {Promise<ImageBitmap>}
   */
  async decode(data, key) {
    if (key) this.#configure(data);
    const frame = await new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      window.setTimeout(() => reject(new Error("the decoder of H.264 holds pictures back")), STALL_MS);
      this.#decoder?.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: this.#timestamp++, data }));
    });
    const picture = await createImageBitmap(frame);
    frame.close();
    return picture;
  }

  close() {
    if (this.#decoder?.state !== "closed") this.#decoder?.close();
    this.#decoder = null;
  }

  /** @param {Uint8Array} data which begins with the sequence's parameters: 00 00 00 01 67, profile, constraints, level */
  #configure(data) {
    this.close();
    this.#decoder = new VideoDecoder({
      output: (frame) => this.#pending.resolve(frame),
      error: (error) => this.#pending.reject(error),
    });
    const profile = Array.from(data.subarray(5, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.#decoder.configure({ ...this.config, codec: `avc1.${profile}` });
  }
}
