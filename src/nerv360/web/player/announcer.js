/** Tells what a player does to those who do not see it. */

import { formatTime } from "./control-bar.js";

export class Announcer {
  #viewText = "";

  /** @param {HTMLElement} region a live region @param {import("./player.js").Player} player */
  constructor(region, player) {
    this.region = region;
    player.addEventListener("waiting", () => this.say("Waiting for the picture"));
    player.addEventListener("play", () => this.say("Playing"));
    player.addEventListener("pause", () => this.say(`Paused at ${formatTime(player.time)}`));
    player.addEventListener("rest", () => this.#sayView(player.view));
  }

  /** @param {string} text */
  say(text) {
    this.region.textContent = text;
  }

  /** @param {import("./player.js").View} view */
  #sayView({ yawDeg, pitchDeg, fovDeg }) {
    const [side, height] = [yawDeg < 0 ? "left" : "right", pitchDeg < 0 ? "down" : "up"];
    const text = `Looking ${Math.abs(yawDeg).toFixed(0)}° ${side}, ${Math.abs(pitchDeg).toFixed(0)}° ${height}, ${fovDeg.toFixed(0)}° wide`;
    if (text !== this.#viewText) this.say(text);
    this.#viewText = text;
  }
}
