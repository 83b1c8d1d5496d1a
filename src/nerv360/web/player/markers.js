/** Elements over the picture that stay where they are in the video. */

/**
 * Move the children of an element that have the slot "marker", and `data-yaw` and `data-pitch` in degrees, to where those
 * are seen.
 * @param {HTMLElement} element @param {import("./player.js").Player} player
 */
export function placeMarkers(element, player) {
  for (const marker of /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll(":scope > [slot=marker]"))) {
    const [yawDeg, pitchDeg] = [marker.dataset.yaw, marker.dataset.pitch].map(Number);
    const place = player.project(yawDeg, pitchDeg);
    marker.style.visibility = place ? "" : "hidden";
    if (place) marker.style.translate = `calc(${place.x}px - 50%) calc(${place.y}px - 50%)`;
  }
}
