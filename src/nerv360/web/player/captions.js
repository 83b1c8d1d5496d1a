/** Captions: WebVTT, read by the browser itself and shown over the picture. */

/** @typedef {{src: string, srclang?: string, label?: string, default?: boolean}} Captioning of a language */

/** What a `<track>` says. @param {HTMLTrackElement} track @returns {Captioning} */
export const captioningOf = (track) => ({
  src: track.src, srclang: track.srclang, label: track.label, default: track.default,
});

/** Event: "change", where others are shown, or none. */
export class Captions extends EventTarget {
  #reader = document.createElement("video"); // it never plays: browsers read WebVTT for videos alone
  /** @type {HTMLTrackElement | null} those that are shown */ #shown = null;
  /** @type {TextTrackCue[]} */ #cues = [];

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
    if (cues.length === this.#cues.length && cues.every((cue, index) => cue === this.#cues[index])) return;
    this.#cues = cues;
    const lines = cues.map((cue) => {
      const line = document.createElement("p");
      line.append(/** @type {VTTCue} */ (cue).getCueAsHTML());
      return line;
    });
    this.place.replaceChildren(...lines);
  }
}

/** In its own words. @param {string} language as "en" */
function nameOf(language) {
  try {
    return new Intl.DisplayNames([language], { type: "language" }).of(language) ?? "Captions";
  } catch {
    return "Captions"; // of no language that there is
  }
}
