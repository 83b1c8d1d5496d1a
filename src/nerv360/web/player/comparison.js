/** The source video beside the decoded picture, at the same frame and in the same view, and the PSNR between the two. */

import { SourceVideo } from "./source-video.js";

export class Comparison {
  /** @type {number | null} */ split = null; // share of the width, right of which the source is shown; null: nowhere
  /** @type {number | null} */ psnrDb = null; // of the picture at rest
  /** @type {SourceVideo | null} */ #source = null;

  /** @param {() => void} changed another frame of the source is there, or the source failed */
  constructor(changed) {
    this.changed = changed;
  }

  /**
   * Show the source right of a part of the width.
   * @param {number} split @param {{video: string, times: string}} source addresses relative to `base` @param {URL} base
   * @param {number} frame
   */
  open(split, source, base, frame) {
    this.split = split;
    if (this.#source) return;
    const [video, times] = [source.video, source.times].map((name) => new URL(name, base).href);
    this.#source = new SourceVideo(video, times, this.changed);
    this.#source.show(frame);
  }

  close() {
    this.split = null;
    this.psnrDb = null;
    this.#source?.close();
    this.#source = null;
  }

  /** @returns {"loading" | "shown" | "failed" | null} null: nothing is compared with */
  get state() {
    if (!this.#source) return null;
    return this.#source.failed ? "failed" : this.#source.picture ? "shown" : "loading";
  }

  /** Where the canvas is split, once there is a frame of the source. */
  get shownSplit() {
    return this.#source?.picture ? this.split : null;
  }

  /** @param {number} frame that the picture shows */
  show(frame) {
    this.#source?.show(frame);
  }

  /**
   * Draw the source and measure, once it shows the picture's frame. Returns whether anything changed.
   * @param {import("./canvas.js").PictureCanvas | null} canvas @param {number} frame of the picture
   * @param {boolean} sharp the picture gets no better: measure it
   */
  update(canvas, frame, sharp) {
    if (this.#source?.failed) return true;
    const measured = this.psnrDb !== null;
    this.psnrDb = null; // what was measured was another picture
    const source = this.#source?.picture;
    if (!source || !canvas || this.#source?.frame !== frame) return measured;
    canvas.uploadSource(source);
    this.psnrDb = sharp ? canvas.psnrDb() : null;
    return true;
  }
}
