/** Captions: WebVTT, read by the browser itself, and shown over the picture where they ask to be (w3.org/TR/webvtt1, 7.2). */

/** @typedef {{src: string, srclang?: string, label?: string, default?: boolean}} Captioning of a language */

/** What a `<track>` says. @param {HTMLTrackElement} track @returns {Captioning} */
export const captioningOf = (track) => ({
  src: track.src, srclang: track.srclang, label: track.label, default: track.default,
});

/** Event: "change", where others are shown, or none. */
export class Captions extends EventTarget {
  #reader = document.createElement("video"); // it never plays: browsers read WebVTT for videos alone
  /** @type {HTMLTrackElement | null} those that are shown */ #shown = null;
  /** Of the cues that are shown. @type {Map<TextTrackCue, HTMLElement>} */ #boxes = new Map();

  /**
   * @param {HTMLElement} place where they are shown
   * @param {import("./player.js").Player} player
   */
  constructor(place, player) {
    super();
    this.place = place;
    this.player = player;
    this.#reader.crossOrigin = "anonymous";
    player.addEventListener("time", () => this.#show());
    new ResizeObserver(() => this.#arrange(() => true)).observe(place);
  }

  /** Add languages; one that says so is shown. @param {Captioning[]} languages */
  add(languages) {
    for (const { src, srclang = "", label = "", default: first } of languages) {
      const track = document.createElement("track");
      Object.assign(track, { kind: "captions", src, srclang, label: label || nameOf(srclang) });
      track.addEventListener("load", () => this.#show());
      track.addEventListener("error", () => this.#remove(track));
      this.#reader.append(track);
      if (first && !this.#shown) this.choose(track);
    }
    if (languages.length) this.#tell();
  }

  /** @returns {HTMLTrackElement[]} */
  get tracks() {
    return [...this.#reader.querySelectorAll("track")];
  }

  get shown() {
    return this.#shown;
  }

  /** Show some, or none. @param {HTMLTrackElement | null} track */
  choose(track) {
    if (this.#shown) this.#shown.track.mode = "disabled";
    this.#shown = track;
    if (track) track.track.mode = "hidden"; // read, but not by this video shown
    this.#show();
    this.#tell();
  }

  /** The next ones, behind the last none. */
  next() {
    const { tracks } = this;
    this.choose(tracks[this.#shown ? tracks.indexOf(this.#shown) + 1 : 0] ?? null);
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }

  /** Of a file that does not come, or is no WebVTT. @param {HTMLTrackElement} track */
  #remove(track) {
    if (track === this.#shown) this.choose(null);
    track.remove();
    this.#tell();
  }

  #show() {
    const { time } = this.player;
    const cues = [...(this.#shown?.track.cues ?? [])].filter((cue) => cue.startTime <= time && time < cue.endTime);
    if (cues.length === this.#boxes.size && cues.every((cue) => this.#boxes.has(cue))) return;
    const before = this.#boxes;
    this.#boxes = new Map(cues.map((cue) => [cue, before.get(cue) ?? boxOf(/** @type {VTTCue} */ (cue))]));
    this.place.replaceChildren(...this.#boxes.values());
    this.#arrange((cue) => !before.has(cue)); // the others stay where they are
  }

  /** Put cues where they ask to be, or as near as the others leave room. @param {(cue: TextTrackCue) => boolean} isMoved */
  #arrange(isMoved) {
    const placed = [...this.#boxes].filter(([cue]) => !isMoved(cue)).map(([, box]) => box);
    const height = this.place.clientHeight;
    for (const [cue, box] of [...this.#boxes].filter(([cue]) => isMoved(cue))) {
      Object.assign(box.style, across(/** @type {VTTCue} */ (cue), getComputedStyle(box).direction === "rtl"));
      const { top, step } = along(/** @type {VTTCue} */ (cue), box, height);
      const limit = height - box.offsetHeight;
      const isFree = (/** @type {number} */ at) => {
        box.style.top = `${at}px`;
        return at > -1 && at < limit + 1 && !placed.some((other) => overlap(box, other));
      };
      const lines = Math.ceil(height / Math.abs(step));
      const tops = [step, -step].flatMap((way) => Array.from({ length: lines + 1 }, (_, line) => top + line * way));
      if (!tops.some(isFree)) box.style.top = `${Math.max(0, Math.min(limit, top))}px`;
      placed.push(box);
    }
  }
}

/** @param {VTTCue} cue */
function boxOf(cue) {
  const [box, text] = [document.createElement("p"), document.createElement("span")];
  text.append(cue.getCueAsHTML());
  box.append(text);
  box.dir = "auto";
  return box;
}

/** Where a cue is from left to right, as CSS. @param {VTTCue} cue @param {boolean} rightToLeft */
function across({ position, size, align, positionAlign }, rightToLeft) {
  const [start, end] = rightToLeft ? ["right", "left"] : ["left", "right"];
  const side = { start, end, left: "left", right: "right", center: "center" }[align];
  const middle = position === "auto" ? { left: 0, center: 50, right: 100 }[/** @type {"left" | "center" | "right"} */ (side)] : position;
  const anchor = !positionAlign || positionAlign === "auto" ? side : positionAlign.replace("line-", "");
  const most = { left: 100 - middle, right: middle }[anchor] ?? 2 * Math.min(middle, 100 - middle);
  const width = Math.min(size, most);
  const left = middle - ({ left: 0, right: width }[anchor] ?? width / 2);
  return { left: `${left}%`, width: `${width}%`, textAlign: align };
}

/** Where it is at first, and how far it moves at a time where that is taken; pixels. @param {VTTCue} cue @param {HTMLElement} box @param {number} height */
function along({ line, snapToLines, lineAlign }, box, height) {
  const step = Number.parseFloat(getComputedStyle(box).lineHeight);
  if (line !== "auto" && !snapToLines) {
    const part = { start: 0, center: 0.5, end: 1 }[lineAlign ?? "start"];
    return { top: (line / 100) * height - part * box.offsetHeight, step };
  }
  const number = line === "auto" ? -1 : Math.round(line);
  return number < 0 ? { top: height + number * step, step: -step } : { top: number * step, step };
}

/** @param {HTMLElement} one @param {HTMLElement} other */
function overlap(one, other) {
  const [a, b] = [one, other].map((box) => /** @type {Element} */ (box.firstElementChild).getBoundingClientRect());
  return a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1;
}

/** In its own words. @param {string} language as "en" */
function nameOf(language) {
  try {
    return new Intl.DisplayNames([language], { type: "language" }).of(language) ?? "Captions";
  } catch {
    return "Captions"; // of no language that there is
  }
}
