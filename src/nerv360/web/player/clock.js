/** The playback position: time that advances while frames come, at a speed, in a loop or to the end. */

const MAX_TICK_MS = 1000; // a page that was held up continues from where it was

export class PlaybackClock {
  playing = false;
  speed = 1; // 1 is that of the video
  loop = true;
  time = 0; // seconds
  #frames = 0; // 0: no video yet
  #frameRate = 1;
  /** @type {number[] | null} */ #frameStarts = null; // seconds, with the end of the last; of a variable rate
  #lastTick = 0; // milliseconds; 0: held

  /** Take a video; the time stays, or is the end of a shorter one. @param {{frames: number, frameRate: number, frameStarts?: number[] | null}} video */
  setVideo({ frames, frameRate, frameStarts = null }) {
    this.#frames = frames;
    this.#frameRate = frameRate;
    this.#frameStarts = frameStarts;
    this.seek(this.time);
  }

  /** Seconds. */
  get duration() {
    return this.startOf(this.#frames);
  }

  get frame() {
    return Math.max(0, Math.min(this.#frames - 1, this.#frameAt(this.time)));
  }

  /** When a frame begins, in seconds; of the one behind the last: the end. @param {number} frame */
  startOf(frame) {
    return this.#frameStarts ? this.#frameStarts[frame] : frame / this.#frameRate;
  }

  /** @param {number} time seconds */
  #frameAt(time) {
    if (!this.#frameStarts) return Math.floor(time * this.#frameRate + 1e-6);
    let [first, end] = [0, this.#frames]; // the frame is one of these
    while (end - first > 1) {
      const middle = (first + end) >> 1;
      if (this.#frameStarts[middle] <= time + 1e-6) first = middle;
      else end = middle;
    }
    return first;
  }

  get atEnd() {
    return this.time >= this.duration;
  }

  /** Start, from the beginning where the last frame is shown. */
  play() {
    if (this.#frames && (this.time >= this.duration - 1e-6 || this.frame === this.#frames - 1)) this.time = 0;
    this.playing = true;
    this.#lastTick = 0;
  }

  /** @param {number} seconds before the video is known, any */
  seek(seconds) {
    this.time = Math.max(0, this.#frames ? Math.min(seconds, this.duration) : seconds);
  }

  /**
   * Advance to the present. Returns whether the time changed.
   * @param {number} now milliseconds @param {boolean} held the time waits, for example for a picture
   */
  tick(now, held) {
    const elapsed = this.#lastTick ? Math.min(MAX_TICK_MS, now - this.#lastTick) : 0;
    this.#lastTick = held ? 0 : now;
    if (held || !elapsed) return false;
    const time = this.time + (elapsed / 1000) * this.speed;
    this.time = this.loop ? time % this.duration : Math.min(time, this.duration);
    return true;
  }
}
