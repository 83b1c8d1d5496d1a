/** Keyboard shortcuts of a player. */

const STEP_DEG = 6; // at a field of view of 78 degrees
const ZOOM = 1.1;

/**
 * What a key does.
 * @param {string} key @param {import("./controls.js").Controls} controls
 * @returns {(() => void) | undefined}
 */
export function shortcut(key, controls) {
  const { player, options } = controls;
  const { yawDeg, pitchDeg, fovDeg } = player.view;
  const step = (STEP_DEG * fovDeg) / 78;
  /** @type {Record<string, (() => void) | undefined>} */
  const actions = {
    ArrowLeft: () => controls.turn({ yawDeg: yawDeg - step }),
    ArrowRight: () => controls.turn({ yawDeg: yawDeg + step }),
    ArrowUp: () => controls.turn({ pitchDeg: pitchDeg + step }),
    ArrowDown: () => controls.turn({ pitchDeg: pitchDeg - step }),
    "+": () => controls.zoom(1 / ZOOM),
    "=": () => controls.zoom(1 / ZOOM),
    "-": () => controls.zoom(ZOOM),
    " ": () => player.toggle(),
    ",": () => player.step(-1),
    ".": () => player.step(1),
    Home: () => controls.lookAhead(),
    p: () => controls.chooseProjection(),
    m: () => player.setVolume(player.volume, !player.muted),
    c: options.captions,
    f: options.fullscreen,
  };
  return actions[key] ?? actions[key.toLowerCase()]; // Caps Lock
}

/** Whether the focused element has its own use for a key. @param {EventTarget | undefined} target @param {string} key */
export function usesKey(target, key) {
  if (target instanceof HTMLButtonElement) return key === " " || key === "Enter";
  if (target instanceof HTMLInputElement && target.type === "range") return /^(Arrow|Page|Home$|End$)/.test(key);
  if (target instanceof HTMLInputElement && target.type === "checkbox") return key === " ";
  if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement) return true;
  return target instanceof HTMLElement && target.isContentEditable;
}
