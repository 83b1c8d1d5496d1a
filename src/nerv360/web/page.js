/** The page: its buttons, screens and readouts, around a Player. */

import "./player/element.js";
import { usesKey } from "./player/keyboard.js";

/** @template {HTMLElement} T @param {string} id @returns {T} */
const find = (id) => /** @type {T} */ (document.getElementById(id));

const SETTINGS = "nerv360.settings"; // in the browser's storage
const ADDRESS_MS = 1000; // between two addresses while it plays
const BACKENDS = { server: "Server", webgl: "Here, WebGL", webgpu: "Here, WebGPU", wasm: "Here, WebAssembly" };
const SCREENS = {
  broken: ["This video cannot be shown", "Its file is damaged, or not one that this player knows."],
  unsupported: ["This browser cannot play it", "Take a current version of Chrome, Edge, Firefox or Safari."],
  gone: ["Waiting for the server", "Playing goes on when it is back."],
};

const options = new URLSearchParams(location.search);
const element = /** @type {import("./player/element.js").Nerv360PlayerElement} */ (find("video"));
for (const name of ["backend", "threads", "format", "autoplay", "autorotate", "projection"]) {
  const value = options.get(name);
  if (value !== null) element.setAttribute(name, value);
}
document.documentElement.classList.toggle("embedded", options.has("embed"));
element.toggleAttribute("whole-page", window.self === window.top && !options.has("embed"));
element.src = "player.json";
const player = /** @type {import("./player/player.js").Player} */ (element.player);
const gestures = /** @type {import("./player/controls.js").Controls} */ (element.gestures);
followAddress();
restoreSettings();
/** @type {any} */ (window).player = player; // for the console

// Where the address says to look: #yaw=30&pitch=5&roll=0&fov=78&t=1.5
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const numbers = Object.fromEntries([...given].map(([name, value]) => [name, Number.parseFloat(value)]));
  const names = { yaw: "yawDeg", pitch: "pitchDeg", roll: "rollDeg", fov: "fovDeg" };
  const view = Object.entries(names).filter(([name]) => Number.isFinite(numbers[name]));
  return {
    view: Object.fromEntries(view.map(([name, property]) => [property, numbers[name]])),
    time: Number.isFinite(numbers.t) ? numbers.t : undefined,
  };
}

function followAddress() {
  const { view, time } = readAddress();
  player.setView({ rollDeg: 0, ...view });
  if (time !== undefined) player.seek(time);
}
window.addEventListener("hashchange", followAddress);

function currentAddress() {
  const { yawDeg, pitchDeg, rollDeg, fovDeg } = player.view;
  const seconds = Math.ceil(player.time * 1000 - 1e-6) / 1000; // rounded down, it may be that of the frame before
  const [yaw, pitch, roll, fov] = [yawDeg, pitchDeg, rollDeg, fovDeg].map((angle) => angle.toFixed(1));
  const parts = { yaw, pitch, roll, fov, t: String(seconds) };
  if (Number(parts.roll) === 0) delete (/** @type {any} */ (parts).roll);
  return `#${new URLSearchParams(parts)}`;
}

let savedAt = 0; // milliseconds
function saveAddress() {
  if (!player.manifest) return;
  savedAt = performance.now();
  history.replaceState(null, "", currentAddress());
}
player.addEventListener("rest", saveAddress);
player.addEventListener("time", () => {
  if (player.playing && performance.now() - savedAt > ADDRESS_MS) saveAddress();
});

// What is going on

const formatBytes = (/** @type {number} */ bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** @type {Record<string, string>} */
let videoFacts = {};
player.addEventListener("manifest", () => {
  const { title, bytes, frames, frameRate, width, height, eyes, model, source } = /** @type {import("./player/player.js").Manifest} */ (player.manifest);
  document.title = `${title} · nerv360`;
  find("title").textContent = title;
  find("backend").replaceChildren(...player.backends.map((name) => new Option(BACKENDS[name], name)));
  const kilobits = (8 * bytes * frameRate) / frames / 1000;
  const panorama = `${width} × ${height}${eyes === 2 ? " for each eye" : ""}`;
  videoFacts = { Panorama: panorama, Model: model, File: `${formatBytes(bytes)}, ${kilobits.toFixed(0)} kbit/s` };
  showFacts(videoFacts);
  find("compare-row").hidden = !source;
});

/** @param {Record<string, string>} known */
function showFacts(known) {
  const entries = Object.entries(known).flatMap(([name, value]) => {
    const [term, entry] = [document.createElement("dt"), document.createElement("dd")];
    Object.assign(entry, { id: `fact-${name.toLowerCase()}`, textContent: value });
    term.textContent = name;
    return [term, entry];
  });
  find("facts").replaceChildren(...entries);
}

player.addEventListener("state", () => {
  const kind = player.error?.kind;
  const { classList } = document.body;
  if (player.state === "loading" && classList.contains("gone")) return; // it is tried again: the screen stays
  if (player.state === "ready") classList.remove("loading");
  classList.toggle("failed", player.state === "error");
  classList.toggle("gone", kind === "gone");
  if (player.state === "loading") showScreen("Opening the video", "");
  if (kind) {
    const [title, advice] = SCREENS[kind];
    showScreen(title, `${player.error?.message ?? ""} ${kind === "broken" ? "" : advice}`.trim() || advice);
  }
  find("again").hidden = player.state !== "error";
});

// not-loaded.js may have said that this is late
document.body.className = "loading";
Object.assign(find("again"), { hidden: true, onclick: () => player.retry() });
showScreen("Opening the video", "");

function showScreen(/** @type {string} */ title, /** @type {string} */ text) {
  find("screen-title").textContent = title;
  find("screen-text").textContent = text;
}

// for benchmarks/player
player.addEventListener("picture", () => performance.mark("first-picture"), { once: true });
player.addEventListener("picture", function sharp() {
  if (player.rough) return;
  performance.mark("first-sharp-picture");
  player.removeEventListener("picture", sharp);
});
player.addEventListener("picture", () => {
  const { fps, milliseconds, width, height, bytes, facts } = player.statistics;
  const rate = player.playing ? `${fps} fps · ` : "";
  find("readout").textContent = `${rate}${milliseconds.toFixed(0)} ms · ${width} × ${height}`;
  const picture = { View: `${width} × ${height}`, Decoding: `${milliseconds.toFixed(0)} ms`, Decoder: player.description, Received: formatBytes(bytes) };
  /** @type {Record<string, string>} */
  const heard = player.soundDescription ? { Sound: player.soundDescription } : {};
  showFacts({ ...videoFacts, ...picture, ...(player.fallback ? { WebGL: player.fallback } : {}), ...heard, ...facts });
});

player.addEventListener("progress", () => {
  const { received, total } = player.progress ?? { received: 0, total: null };
  const ring = find("progress");
  ring.hidden = player.progress === null;
  document.body.classList.toggle("counting", total !== null);
  if (total === null) {
    document.body.style.removeProperty("--loaded");
    ring.removeAttribute("aria-valuenow"); // no value: it lasts
  } else {
    document.body.style.setProperty("--loaded", String(received / total));
    ring.setAttribute("aria-valuenow", ((100 * received) / total).toFixed(0));
  }
});

player.addEventListener("view", () => {
  const { yawDeg, pitchDeg, fovDeg } = player.view;
  find("needle").setAttribute("transform", `rotate(${yawDeg})`);
  const half = (Math.min(150, player.viewport.hfovDeg) / 2) * (Math.PI / 180);
  const [x, y] = [38 * Math.sin(half), -38 * Math.cos(half)];
  find("wedge").setAttribute("d", `M0 0L${-x} ${y}A38 38 0 0 1 ${x} ${y}Z`);
});

for (const name of ["play", "pause"]) player.addEventListener(name, saveAddress);

function restoreSettings() {
  try {
    const kept = JSON.parse(localStorage.getItem(SETTINGS) ?? "{}");
    const { speed = 1, loop = true, resolution = "auto", volume = 1, muted = false } = kept;
    player.setSpeed(speed);
    element.loop = loop;
    player.setResolution(resolution);
    player.setVolume(volume, muted || options.has("muted"));
  } catch {} // the browser keeps nothing for this page
}

function keepSettings() {
  const { speed, loop, resolution, volume, muted } = player;
  try {
    localStorage.setItem(SETTINGS, JSON.stringify({ speed, loop, resolution, volume, muted }));
  } catch {} // as above
}
for (const name of ["settings", "volume"]) player.addEventListener(name, keepSettings);

player.addEventListener("settings", () => {
  /** @type {HTMLSelectElement} */ (find("backend")).value = player.backend ?? "";
  /** @type {HTMLSelectElement} */ (find("speed")).value = String(player.speed);
  /** @type {HTMLInputElement} */ (find("loop")).checked = player.loop;
  /** @type {HTMLSelectElement} */ (find("projection")).value = player.projection;
  /** @type {HTMLInputElement} */ (find("compare")).disabled = player.projection !== "perspective";
});

/** What the menu offers depends on the view, and on the canvas. */
function offerResolutions() {
  const [offered, chosen] = [player.resolutions, player.resolution];
  const options = [new Option("Automatic", "auto"), ...offered.map((side) => new Option(String(side)))];
  if (chosen !== "auto" && !offered.includes(chosen)) options.push(new Option(`${chosen}, not in this view`, String(chosen)));
  const select = /** @type {HTMLSelectElement} */ (find("resolution"));
  const textOf = (/** @type {Iterable<HTMLOptionElement>} */ listed) => Array.from(listed, ({ text }) => text).join();
  if (textOf(options) !== textOf(select.options)) select.replaceChildren(...options); // else an open menu would close
  select.value = String(chosen);
  find("resolution-row").hidden = !offered.length;
}
for (const name of ["settings", "picture"]) player.addEventListener(name, offerResolutions);

player.addEventListener("comparison", () => {
  if (player.source === "failed") {
    find("compare-note").textContent = "This browser cannot play it.";
    return player.setComparison(null);
  }
  /** @type {HTMLInputElement} */ (find("compare")).checked = player.split !== null;
  find("source").textContent = player.source === "loading" ? "Source is loading" : "Source";
  find("comparison").hidden = player.split === null;
  find("psnr").textContent = player.psnrDb === null ? "" : `${player.psnrDb.toFixed(2)} dB PSNR`;
});

// What the user does

function toggleHelp() {
  const dialog = /** @type {HTMLDialogElement} */ (find("help"));
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

const listen = (/** @type {string} */ id, /** @type {string} */ event, /** @type {(target: any) => void} */ act) =>
  find(id).addEventListener(event, ({ currentTarget }) => act(currentTarget));

listen("compass", "click", () => gestures.lookAhead());
listen("shortcuts", "click", toggleHelp);
listen("split", "pointerup", () => gestures.surface.focus()); // dragged: the arrow keys are to turn
listen("speed", "change", (target) => player.setSpeed(Number(target.value)));
listen("loop", "change", (target) => (element.loop = target.checked));
listen("backend", "change", (target) => player.setBackend(target.value));
listen("resolution", "change", (target) => player.setResolution(target.value === "auto" ? "auto" : Number(target.value)));
listen("projection", "change", (target) => gestures.chooseProjection(target.value));
listen("compare", "change", (target) => {
  find("compare-note").textContent = "";
  player.setComparison(target.checked ? Number(/** @type {HTMLInputElement} */ (find("split")).value) : null);
});
listen("split", "input", (target) => player.setComparison(Number(target.value)));
listen("motion", "change", async (target) => {
  await gestures.followDevice(target.checked).catch(() => {
    target.checked = false;
    element.warn("This device does not tell its orientation");
  });
});
listen("share", "click", async (target) => {
  const link = new URL(currentAddress(), location.href).href;
  history.replaceState(null, "", link);
  const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
  target.textContent = copied ? "Link copied" : "The link is in the address bar";
  window.setTimeout(() => (target.textContent = "Copy link to this view"), 2000);
});

function openPanel(/** @type {boolean} */ open) {
  find("panel").hidden = !open;
  find("settings").setAttribute("aria-expanded", String(open));
}
listen("settings", "click", () => openPanel(find("panel").hidden === true));
gestures.surface.addEventListener("pointerdown", () => openPanel(false));
document.addEventListener("keydown", (event) => {
  if (event.key === "?" && !usesKey(event.composedPath()[0], event.key)) toggleHelp();
  if (event.key !== "Escape" || find("panel").hidden) return;
  openPanel(false);
  find("settings").focus();
});
find("motion-row").hidden = !("DeviceOrientationEvent" in window && matchMedia("(pointer: coarse)").matches);
