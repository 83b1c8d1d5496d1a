/** A bounded cache: the least recently used entry goes first. */

/** @template V */
export class LRUCache {
  /** @type {Map<string | number, V>} */ #entries = new Map();

  /**
   * Keeps `maxEntries`, or more while all sizes add up to no more than `maxSize`.
   * @param {number} maxEntries @param {number} maxSize @param {(value: V) => number} sizeOf
   * @param {(value: V) => void} release what does not stay
   */
  constructor(maxEntries, maxSize = 0, sizeOf = () => Infinity, release = () => {}) {
    this.maxEntries = maxEntries;
    this.maxSize = maxSize;
    this.sizeOf = sizeOf;
    this.release = release;
  }

  /** The entry of a key, made where there is none. @param {string | number} key @param {() => V} make @returns {V} */
  get(key, make) {
    const value = this.#entries.get(key) ?? make();
    this.#entries.delete(key);
    this.#entries.set(key, value);
    while (this.#entries.size > this.maxEntries && this.#size() > this.maxSize) {
      const [oldest, released] = /** @type {[string, V]} */ (this.#entries.entries().next().value);
      this.#entries.delete(oldest);
      this.release(released);
    }
    return value;
  }

  /** @param {string | number} key */
  delete(key) {
    this.#entries.delete(key);
  }

  #size() {
    let size = 0;
    for (const value of this.#entries.values()) size += this.sizeOf(value);
    return size;
  }
}
