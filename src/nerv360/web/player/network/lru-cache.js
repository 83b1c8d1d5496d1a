/** A bounded cache: the least recently used entry goes first. */

/** @template V */
export class LRUCache {
  /** @type {Map<string | number, V>} */ #entries = new Map();

  /**
   * Keeps `maxEntries`, or more while all sizes add up to no more than `maxSize`.
   * @param {number} maxEntries @param {number} maxSize @param {(value: V) => number} sizeOf
   */
  constructor(maxEntries, maxSize = 0, sizeOf = () => Infinity) {
    this.maxEntries = maxEntries;
    this.maxSize = maxSize;
    this.sizeOf = sizeOf;
  }

  /** The entry of a key, made where there is none. @param {string | number} key @param {() => V} make @returns {V} */
  get(key, make) {
    const value = this.#entries.get(key) ?? make();
    this.#entries.delete(key);
    this.#entries.set(key, value);
    while (this.#entries.size > this.maxEntries && this.#size() > this.maxSize)
      this.#entries.delete(/** @type {string} */ (this.#entries.keys().next().value));
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
