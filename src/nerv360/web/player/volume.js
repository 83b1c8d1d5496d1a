/** The volume that the user has set, kept in the browser from one visit to the next. */

const KEY = "nerv360.volume";

/** As it was set the last time. @returns {{volume?: number, muted?: boolean}} */
export function recallVolume() {
  try {
    const { volume, muted } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { volume: Number.isFinite(volume) ? volume : 1, muted: muted === true };
  } catch {
    return {}; // the browser keeps nothing for this page
  }
}

/** @param {number} volume @param {boolean} muted */
export function keepVolume(volume, muted) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ volume, muted }));
  } catch {} // as above
}
