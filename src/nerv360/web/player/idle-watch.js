/** Tells when nobody has done anything for a while. */

const IDLE_MS = 2600;

export class IdleWatch {
  #timer = 0;

  /**
   * @param {() => boolean} inUse whether somebody is about to do something, though nothing happens
   * @param {(idle: boolean) => void} changed
   */
  constructor(inUse, changed) {
    this.inUse = inUse;
    this.changed = changed;
  }

  /** Something was done. */
  wake() {
    this.changed(false);
    this.stop();
    this.#timer = window.setTimeout(() => (this.inUse() ? this.wake() : this.changed(true)), IDLE_MS);
  }

  stop() {
    window.clearTimeout(this.#timer);
  }
}
