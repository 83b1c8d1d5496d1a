/** The source video in a <video> element, at the frame that the player shows. */

import { downloadJson } from "./download.js";

export class SourceVideo {
  #video = document.createElement("video");
  /** @type {number[]} */ #frameTimes = []; // seconds in which the frames are shown, in their middle
  #wantedFrame = -1;
  #seekedFrame = -1;
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
    this.#video.addEventListener("loadeddata", () => this.#seek());
    this.#video.addEventListener("seeked", () => this.#seeked());
    this.#video.addEventListener("error", () => this.#failedToLoad());
    downloadJson(times, "The source").then((frameTimes) => {
      if (this.#closed) return;
      this.#frameTimes = frameTimes;
      Object.assign(this.#video, { src: address, muted: true, playsInline: true, preload: "auto" });
    }, () => this.#failedToLoad());
  }

  /** The element that shows `frame`, once there is one. */
  get picture() {
    return this.frame < 0 || this.failed ? null : this.#video;
  }

  /** @param {number} frame of our video */
  show(frame) {
    this.#wantedFrame = frame;
    this.#seek();
  }

  close() {
    this.#closed = true;
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  #seek() {
    if (this.#seeking || this.#wantedFrame === this.frame || this.#video.readyState < HTMLMediaElement.HAVE_METADATA) return;
    this.#seeking = true;
    this.#seekedFrame = this.#wantedFrame;
    this.#video.currentTime = this.#frameTimes[this.#wantedFrame];
  }

  #seeked() {
    this.#seeking = false;
    this.frame = this.#seekedFrame;
    this.changed();
    this.#seek();
  }

  #failedToLoad() {
    if (this.#closed) return;
    this.failed = true;
    this.changed();
  }
}
