/** What the line carries, by the answers that have come: its rate while bytes were due, and how long the first of them take. */

const GUESS = { bytes: 10_000, milliseconds: 20 }; // before anything is measured
const HALF_LIFE = 1000; // milliseconds of receiving, after which what was measured counts half
const LATENCIES = 8; // the last ones, of which the least is the line's: others waited for their turn

export class LineEstimate {
  #bytes = GUESS.bytes;
  #milliseconds = GUESS.milliseconds;
  #heardAt = -Infinity;
  /** @type {number[]} */ #latencies = [];

  /** Bytes a millisecond. */
  get rate() {
    return this.#bytes / this.#milliseconds;
  }

  /** Milliseconds from a request to the first bytes of its answer. */
  get latency() {
    return this.#latencies.length ? Math.min(...this.#latencies) : 0;
  }

  /** Milliseconds that bytes take which are asked for now. @param {number} bytes with those that are still to come */
  duration(bytes) {
    return this.latency + bytes / this.rate;
  }

  /** Note how long the first bytes of an answer took. @param {number} milliseconds */
  answered(milliseconds) {
    this.#latencies = [milliseconds, ...this.#latencies].slice(0, LATENCIES);
  }

  /**
   * Note bytes that have come.
   * @param {number} bytes @param {number} now milliseconds @param {number} askedAt when the oldest request was sent that is open
   */
  heard(bytes, now, askedAt) {
    const milliseconds = Math.max(0, now - Math.max(this.#heardAt, askedAt + this.latency)); // nothing was due before
    const kept = 0.5 ** (milliseconds / HALF_LIFE);
    this.#bytes = kept * this.#bytes + bytes;
    this.#milliseconds = kept * this.#milliseconds + milliseconds;
    this.#heardAt = now;
  }
}
