/**
 * Decodes views of frames of nerv360-motion: bytes of keys -> keys in the core's slots -> the window that the view touches.
 *
 * What predicts a frame is decoded before it. Keys stay in slots while there is room: those of next frames are read ahead. Of
 * keys with sectors, those that the view depends on are fetched; until they are there, the picture is soft.
 */

import { ancestry } from "../key-order.js";
import { RANKS, choose } from "./fetch-order.js";
import { KeySlots } from "./key-slots.js";
import { MotionCore, loadCore } from "./motion-core.js";
import { distanceFrom, grown, regionOf, windowOf } from "./panorama-window.js";
import { Sectors } from "./sectors.js";

/**
 * @typedef {import("../container.js").Container} Container
 * @typedef {import("../segments.js").MotionSegment} MotionSegment
 * @typedef {import("../worker.js").DecodedView} DecodedView
 * @typedef {import("./fetch-order.js").Wish} Wish
 * @typedef {import("./panorama-window.js").PanoramaWindow} PanoramaWindow
 */

const CACHED_BYTES = 400 << 20; // of keys in slots; more where one frame needs more
const AHEAD = 320; // milliseconds of frames that are decoded, with their sectors
const ROUNDS = 3; // of requests, in which motion tells what else is needed, and which come on top
const BASES_AHEAD = 2; // seconds, whose keys are fetched before any sectors
const MAX_STRIDE = 8; // frames from picture to picture, where a slow machine skips some
const KINDS = ["root", "P", "B"]; // by the number of references
const PATIENCE = 120; // milliseconds, after which a view is shown as it is
const TURNS_AHEAD = 4; // moves like the last one, whose sectors are fetched
const MAX_TURN = 1 / 8; // of the panorama, that is fetched ahead of a turn
const RING = 1 / 2; // of a sector, around a view, whose sectors are fetched once all else is there

export class MotionDecoder {
  received = 0; // bytes of the core
  #slots;
  /** @type {Promise<import("./motion-core.js").CoreFiles>} */ #files;
  /** @type {{core: MotionCore, sectors: Sectors} | null} */ #decoding = null; // keys with sectors of one size
  #turns = 0; // views asked for: reading ahead ends with the next
  #frame = 0; // last asked for
  #eyes = 1; // then
  #plays = false; // then: frame by frame
  #stride = 1; // from picture to picture, on average
  #region = { top: 0, left: 0, height: 0, width: 0 }; // of the last view
  #turn = { right: 0, down: 0 }; // pixels from the one before it

  /** Load the core while the file is opened. @param {Promise<Container>} opening @param {() => void} lost another worker is needed */
  static async open(opening, lost) {
    const files = loadCore();
    files.catch(lost); // whoever needs it is told why
    return new MotionDecoder(await opening, files);
  }

  /** @param {Container} container @param {Promise<import("./motion-core.js").CoreFiles>} files of the core @param {number} cachedBytes */
  constructor(container, files, cachedBytes = CACHED_BYTES) {
    this.container = container;
    this.#slots = new KeySlots(container, cachedBytes);
    container.reader.measure();
    this.#files = files;
    files.then(({ received }) => (this.received = received), () => {});
  }

  /**
   * Decode a view. Where a slow machine skips frames while it plays, one nearby that takes fewer keys stands for the frame.
   * @param {MotionSegment} segment @param {number} wished frame @param {import("../geometry.js").Viewport} view
   * @param {boolean} moving @param {number} eyes whose pictures of the frame are wanted, as far as there are two
   * @returns {Promise<DecodedView>}
   */
  async decode(segment, wished, view, moving, eyes = 1) {
    this.#turns++;
    this.#eyes = Math.min(eyes, segment.eyes);
    const { width, height } = this.container;
    const region = regionOf(view, width, height);
    const again = !moving && wished === this.#frame && JSON.stringify(region) === JSON.stringify(this.#region);
    this.#plays = moving && wished > this.#frame;
    const stride = Math.min(MAX_STRIDE, Math.max(1, wished - this.#frame));
    this.#stride = (this.#stride + stride) / 2;
    this.#frame = wished;
    const frame = this.#plays ? this.#cheapest(segment, wished) : wished;
    const path = this.#path(segment, frame);
    const pictures = this.#pictures(segment, frame);
    const asked = performance.now();
    await this.container.reader.fetch(this.#stretches(segment, this.#slots.missing(segment, path)));
    const core = await this.#coreOf(segment);
    this.#look(region);
    let began = performance.now();
    const missing = this.#slots.missing(segment, path);
    const { reader, frameRate } = this.container;
    const patience = this.#plays ? Math.min(PATIENCE, 1000 / frameRate) : PATIENCE;
    let lacking = this.#readSectors(core, segment, pictures, region);
    while (lacking.length) {
      const left = asked + patience - performance.now();
      if (!again && reader.line.duration(reader.coming + bytesOf(lacking.filter((each) => reader.lacks(each)))) > left) break;
      if (!(await within(this.#ask(lacking), left))) break;
      began = performance.now();
      lacking = this.#readSectors(core, segment, pictures, region);
    }
    const window = windowOf(view, width, height);
    const [picture, right = null] = pictures.map((number) => ({
      pixels: core.pixels(this.#slots.slotOf(core, segment, number), window), window, panorama: { width, height },
    }));
    return {
      picture,
      right,
      milliseconds: performance.now() - began,
      rough: frame !== wished || lacking.length > 0,
      preview: false,
      facts: factsOf(segment, /** @type {number} */ (segment.chunkOfPicture.get(segment.eyes * frame)), missing.length, window, reader.line),
    };
  }

  /** There is nothing more to wait for. */
  async ready() {}

  /**
   * Fetch what is needed next, and decode the keys of next frames, until another view is asked for.
   * @param {MotionSegment} segment @param {number} frame
   */
  async readAhead(segment, frame) {
    const turn = this.#turns;
    const core = await this.#coreOf(segment);
    while (turn === this.#turns && (await this.#ask(await this.#wishes(core, segment, frame)))) continue;
  }

  /** Ask for what is most urgent, and wait for what comes next; says whether anything does. @param {Wish[]} wishes */
  #ask(wishes) {
    const { reader } = this.container;
    reader.ask(choose(wishes.filter((each) => reader.lacks(each)), reader.line, reader.coming));
    return reader.next();
  }

  /**
   * What is not here, and will be needed: keys of the group and the next one, the sectors that the view would take of next frames,
   * or some around it. Decodes what is here of these frames.
   * @param {MotionCore} core @param {MotionSegment} segment @param {number} frame @returns {Promise<Wish[]>}
   */
  async #wishes(core, segment, frame) {
    const { reader, frameRate } = this.container;
    const turn = this.#turns;
    const end = segment.firstFrame + segment.frames;
    const soon = Math.min(end - frame, Math.ceil(BASES_AHEAD * frameRate));
    const bases = (/** @type {number[]} */ keys, /** @type {number} */ rank) => this.#stretches(segment, keys)
      .filter((each) => !reader.has(each)).map(({ start, length }) => ({ start, length, rank, useful: Infinity }));
    const wishes = [
      ...bases([...new Set(Array.from({ length: soon }, (_, i) => this.#path(segment, frame + i)).flat())], RANKS.base),
      ...bases(chunksOfGroups(segment, frame, this.#eyes), RANKS.laterBase),
    ];
    const stride = Math.round(this.#stride);
    const path = this.#path(segment, frame);
    const ahead = Math.min(this.#slots.capacity / 2, ((AHEAD + ROUNDS * reader.line.latency) * frameRate) / 1000);
    for (let next = this.#plays ? frame + stride : frame; next < end && next <= frame + ahead; next += stride) {
      const shown = this.#cheapest(segment, next);
      const wanted = this.#path(segment, shown);
      const pinned = [...new Set([...path, ...wanted])];
      if (pinned.length > this.#slots.capacity || !this.#stretches(segment, wanted).every((each) => reader.has(each))) break;
      for (const chunk of this.#slots.missing(segment, wanted)) {
        await new Promise((resolve) => setTimeout(resolve)); // a view may be asked for
        if (turn !== this.#turns) return [];
        this.#slots.hold(core, segment, chunk, pinned);
      }
      const moves = this.#plays ? (next - frame) / stride : TURNS_AHEAD;
      wishes.push(...this.#readSectors(core, segment, this.#pictures(segment, shown), this.#regionAfter(moves, 0)));
    }
    if (wishes.length) return wishes;
    return this.#readSectors(core, segment, this.#pictures(segment, frame), this.#regionAfter(TURNS_AHEAD, RING * segment.sector));
  }

  /** What a view touches until it has made more moves like the last one, and some pixels around. @param {number} moves @param {number} around */
  #regionAfter(moves, around) {
    const { width, height } = this.container;
    const most = MAX_TURN * width;
    const [right, down] = [this.#turn.right, this.#turn.down].map((each) => Math.max(-most, Math.min(most, moves * each)));
    return grown(this.#region, around, Math.round(right), Math.round(down), width, height);
  }

  /**
   * Read the sectors that a region of pictures depends on, as far as they are here; gives the others.
   * @param {MotionCore} core @param {MotionSegment} segment @param {number[]} pictures @param {PanoramaWindow} region @returns {Wish[]}
   */
  #readSectors(core, segment, pictures, region) {
    if (!segment.sector) return [];
    const { width, height } = this.container;
    const { sectors } = /** @type {{sectors: Sectors}} */ (this.#decoding);
    return pictures.flatMap((picture) => {
      const slot = this.#slots.slotOf(core, segment, picture);
      const held = ancestry(segment, picture).map((key) => ({ key, slot: /** @type {number} */ (this.#slots.get(segment.keys[key].frame)) }));
      for (let /** @type {Wish[]} */ lacking = [], read = true; read; ) {
        lacking = [];
        read = false;
        if (!core.ask(slot, region)) return [];
        for (const each of held)
          for (const sector of core.asked(each.slot)) {
            const data = sectors.bytes(segment, each.key, sector);
            if (data) read = core.decodeSector(each.slot, sector, data) || read;
            else {
              const [row, column] = sectors.middle(sector);
              const rank = distanceFrom(region, row, column, width, height);
              lacking.push({ ...sectors.stretch(segment, each.key, sector), rank, useful: this.#usefulFor(segment, each.key) });
            }
          }
        if (!read) return lacking;
      }
      return [];
    });
  }

  /** Milliseconds for which the sectors of a key are useful: while it plays, those of a B key until the next span. @param {MotionSegment} segment @param {number} key */
  #usefulFor(segment, key) {
    if (!this.#plays || segment.keys[key].level < 2) return Infinity;
    const { first, count } = segment.spans[segment.spanOfKey[key]];
    const last = Math.max(...segment.keys.slice(first, first + count).map(({ frame }) => Math.floor(frame / segment.eyes)));
    return (1000 * (last + 1 - this.#frame)) / this.container.frameRate;
  }

  /** The core that decodes a segment. @param {MotionSegment} segment */
  async #coreOf({ sector }) {
    const { code, priors } = await this.#files;
    if (this.#decoding?.core.sector !== sector) {
      const core = new MotionCore(code, priors, this.container.width, this.container.height, sector);
      this.#decoding = { core, sectors: new Sectors(this.container, core) };
      this.#slots.clear();
    }
    return this.#decoding.core;
  }

  /** Where keys lie in the file: those with sectors with all of their span, and with what tells where their sectors lie. @param {MotionSegment} segment @param {number[]} keys */
  #stretches({ chunks, spans, spanOfKey }, keys) {
    if (!spans.length) return keys.map((key) => chunks[key]);
    return [...new Set(keys.map((key) => spans[spanOfKey[key]]))].map(({ first, lengths }) => {
      const { start } = chunks[first];
      return { start, length: lengths.start + lengths.length - start };
    });
  }

  /** Note where a view is, and how far it has moved. @param {PanoramaWindow} region */
  #look(region) {
    const { width } = this.container;
    const right = ((region.left - this.#region.left + 1.5 * width) % width) - width / 2;
    const same = region.width === this.#region.width; // else it goes round, or its field of view changes
    this.#turn = same ? { right: Math.round(right), down: region.top - this.#region.top } : { right: 0, down: 0 };
    this.#region = region;
  }

  /** Frames by which one may stand for another while it plays: none on a machine that shows all. */
  get #reach() {
    return Math.floor(this.#stride / 2);
  }

  /** The frame within reach that takes the fewest keys, the nearest of them. @param {MotionSegment} segment @param {number} frame */
  #cheapest(segment, frame) {
    const near = [frame];
    for (let offset = 1; offset <= this.#reach; offset++) near.push(frame + offset, frame - offset);
    const held = (/** @type {number} */ each) => segment.chunkOfPicture.has(segment.eyes * each);
    const costs = near.map((each) => (held(each) ? this.#slots.missing(segment, this.#path(segment, each)).length : Infinity));
    return near[costs.indexOf(Math.min(...costs))];
  }

  /** The pictures of a frame that are asked for: the left one, or both. @param {MotionSegment} segment @param {number} frame */
  #pictures(segment, frame) {
    return Array.from({ length: this.#eyes }, (_, eye) => segment.eyes * frame + eye);
  }

  /** The chunks that they take, in the order of coding. @param {MotionSegment} segment @param {number} frame */
  #path(segment, frame) {
    const chunks = this.#pictures(segment, frame).flatMap((picture) => ancestry(segment, picture));
    return [...new Set(chunks)].sort((a, b) => a - b);
  }
}

/** What a promise gives, or false after some milliseconds; a failure is told only until then. @param {Promise<boolean>} promise @param {number} wait */
async function within(promise, wait) {
  promise.catch(() => {}); // whoever needs it asks again
  return Promise.race([promise, new Promise((resolve) => setTimeout(resolve, wait, false))]);
}

/**
 * The chunks of the group of a frame and of the next group, of the left eye or of both.
 * @param {MotionSegment} segment @param {number} frame @param {number} wanted eyes
 */
function chunksOfGroups({ groups, firstFrame, eyes }, frame, wanted) {
  let [group, first] = [0, 0];
  while (first + groups[group] <= frame - firstFrame) first += groups[group++];
  return groups.slice(group, group + 2).flatMap((count) => {
    const start = eyes * first;
    first += count;
    return Array.from({ length: wanted * count }, (_, i) => start + i);
  });
}

const bytesOf = (/** @type {Wish[]} */ wishes) => wishes.reduce((sum, { length }) => sum + length, 0);

/**
 * What is worth knowing of a decoded key, for people.
 * @param {MotionSegment} segment @param {number} chunk @param {number} decoded keys for this view
 * @param {PanoramaWindow} window @param {import("../line-estimate.js").LineEstimate} line
 */
function factsOf(segment, chunk, decoded, window, line) {
  const { references, level } = segment.keys[chunk];
  return {
    Key: `${KINDS[references.length]}, level ${level}, ${segment.chunks[chunk].length} bytes`,
    Keys: `${decoded} decoded for this view`,
    Window: `${window.width} × ${window.height} pixels`,
    Line: `${(8 * line.rate).toFixed(0)} kbit/s, ${line.latency.toFixed(0)} ms`,
  };
}
