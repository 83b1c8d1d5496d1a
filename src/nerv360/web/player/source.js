/** The original video, at the frame that the player shows: the conventional road, to compare with. */

export class Source {
  #video = document.createElement("video");
  #wanted = -1;
  #asked = -1;
  #seeking = false;
  frame = -1; // that the video shows

  /**
   * @param {string} address @param {number} frameRate @param {number} start its frame that is the first of ours
   * @param {() => void} changed another frame is there
   */
  constructor(address, frameRate, start, changed) {
    this.frameRate = frameRate;
    this.start = start;
    this.changed = changed;
    Object.assign(this.#video, { src: address, muted: true, playsInline: true, preload: "auto" });
    this.#video.addEventListener("loadeddata", () => this.#follow());
    this.#video.addEventListener("seeked", () => this.#arrived());
  }

  /** The element that shows `frame`, once there is one. */
  get picture() {
    return this.frame < 0 ? null : this.#video;
  }

  /** @param {number} frame of our video */
  show(frame) {
    this.#wanted = frame;
    this.#follow();
  }

  close() {
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  #follow() {
    if (this.#seeking || this.#wanted === this.frame || this.#video.readyState < HTMLMediaElement.HAVE_METADATA) return;
    this.#seeking = true;
    this.#asked = this.#wanted;
    this.#video.currentTime = (this.start + this.#wanted + 0.5) / this.frameRate;
  }

  #arrived() {
    this.#seeking = false;
    this.frame = this.#asked;
    this.changed();
    this.#follow();
  }
}
