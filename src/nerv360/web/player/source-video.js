/** The original video, at the frame that the player shows: the conventional road, to compare with. */

import { downloadJson } from "./download.js";

export class SourceVideo {
  #video = document.createElement("video");
  /** @type {number[]} */ #times = []; // seconds in which the frames are shown, in their middle
  #wanted = -1;
  #asked = -1;
  #seeking = false;
  #closed = false;
  frame = -1; // that the video shows
  failed = false;

  /**
   * @param {string} address @param {string} times address of them
   * @param {() => void} changed another frame is there, or it failed
   */
  constructor(address, times, changed) {
    this.changed = changed;
    this.#video.addEventListener("loadeddata", () => this.#follow());
    this.#video.addEventListener("seeked", () => this.#arrived());
    this.#video.addEventListener("error", () => this.#fail());
    downloadJson(times, "The source").then((known) => {
      if (this.#closed) return;
      this.#times = known;
      Object.assign(this.#video, { src: address, muted: true, playsInline: true, preload: "auto" });
    }, () => this.#fail());
  }

  /** The element that shows `frame`, once there is one. */
  get picture() {
    return this.frame < 0 || this.failed ? null : this.#video;
  }

  /** @param {number} frame of our video */
  show(frame) {
    this.#wanted = frame;
    this.#follow();
  }

  close() {
    this.#closed = true;
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  #follow() {
    if (this.#seeking || this.#wanted === this.frame || this.#video.readyState < HTMLMediaElement.HAVE_METADATA) return;
    this.#seeking = true;
    this.#asked = this.#wanted;
    this.#video.currentTime = this.#times[this.#wanted];
  }

  #arrived() {
    this.#seeking = false;
    this.frame = this.#asked;
    this.changed();
    this.#follow();
  }

  #fail() {
    if (this.#closed) return;
    this.failed = true;
    this.changed();
  }
}
