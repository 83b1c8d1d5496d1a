/** The page: its buttons, screens and readouts, around a Player. */

import { Controls } from "./player/controls.js";
import { Player } from "./player/player.js";

/** @template {HTMLElement} T @param {string} id @returns {T} */
const find = (id) => /** @type {T} */ (document.getElementById(id));

const IDLE_MS = 2600;
const ADDRESS_MS = 1000; // between two addresses while it plays
const BACKENDS = { server: "Server", webgpu: "Here, WebGPU", wasm: "Here, WebAssembly" };
const SCREENS = {
  broken: ["This video cannot be shown", "Its file is damaged, or not one that this player knows."],
  unsupported: ["This browser cannot play it", "Take a current version of Chrome, Edge, Firefox or Safari."],
  gone: ["Waiting for the server", "Playing goes on when it is back."],
};

const canvas = /** @type {HTMLCanvasElement} */ (find("picture"));
const options = new URLSearchParams(location.search);
const threads = Number(options.get("threads"));
const player = new Player(canvas, {
  src: "player.json",
  backend: /** @type {any} */ (options.get("backend") ?? "auto"),
  threads: Number.isInteger(threads) ? threads : 0,
  format: /** @type {any} */ (options.get("format") ?? "auto"),
  ...place(),
});
const framed = window.self !== window.top;
const controls = new Controls(player, canvas, { keyboard: document, wheel: framed ? "focused" : "always", fullscreen, help });
/** @type {any} */ (window).player = player; // for the console

// Where the address says to look: #yaw=30&pitch=5&roll=0&fov=78&t=1.5
function place() {
  const given = new URLSearchParams(location.hash.slice(1));
  const numbers = Object.fromEntries([...given].map(([name, value]) => [name, Number.parseFloat(value)]));
  const names = { yaw: "yawDeg", pitch: "pitchDeg", roll: "rollDeg", fov: "fovDeg" };
  const view = Object.entries(names).filter(([name]) => Number.isFinite(numbers[name]));
  return {
    view: Object.fromEntries(view.map(([name, property]) => [property, numbers[name]])),
    time: Number.isFinite(numbers.t) ? numbers.t : undefined,
  };
}

function address() {
  const { yawDeg, pitchDeg, rollDeg, fovDeg } = player.view;
  const parts = { yaw: yawDeg.toFixed(1), pitch: pitchDeg.toFixed(1), roll: rollDeg.toFixed(1), fov: fovDeg.toFixed(1), t: String(Math.ceil(player.time * 1000 - 1e-6) / 1000) }; // up: down is the frame before
  if (Number(parts.roll) === 0) delete (/** @type {any} */ (parts).roll);
  return `#${new URLSearchParams(parts)}`;
}

let keptAt = 0; // milliseconds
function keepAddress() {
  if (!player.manifest) return;
  keptAt = performance.now();
  history.replaceState(null, "", address());
}
player.addEventListener("rest", keepAddress);
player.addEventListener("time", () => {
  if (player.playing && performance.now() - keptAt > ADDRESS_MS) keepAddress();
});

window.addEventListener("hashchange", () => {
  const { view, time } = place();
  player.setView({ rollDeg: 0, ...view });
  if (time !== undefined) player.seek(time);
});

// What is going on

const clock = (/** @type {number} */ seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
const size = (/** @type {number} */ bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

player.addEventListener("manifest", () => {
  const { title, bytes, frames, frameRate, width, height, model, source } = /** @type {import("./player/player.js").Manifest} */ (player.manifest);
  document.title = `${title} · nerv360`;
  find("title").textContent = title;
  /** @type {HTMLInputElement} */ (find("seek")).max = String(player.duration);
  find("backend").replaceChildren(...player.backends.map((name) => new Option(BACKENDS[name], name)));
  const kilobits = (8 * bytes * frameRate) / frames / 1000;
  facts({ Panorama: `${width} × ${height}`, Model: model, File: `${size(bytes)}, ${kilobits.toFixed(0)} kbit/s` });
  find("compare-row").hidden = !source;
  showTime();
});

/** @param {Record<string, string>} known */
function facts(known) {
  const list = find("facts");
  for (const [name, value] of Object.entries(known)) {
    const id = `fact-${name.toLowerCase().replace(/ /g, "-")}`;
    let entry = document.getElementById(id);
    if (!entry) {
      const term = document.createElement("dt");
      term.textContent = name;
      entry = document.createElement("dd");
      entry.id = id;
      list.append(term, entry);
    }
    entry.textContent = value;
  }
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
  const { fps, milliseconds, width, height, bytes } = player.statistics;
  const rate = player.playing ? `${fps} fps · ` : "";
  find("readout").textContent = `${rate}${milliseconds.toFixed(0)} ms · ${width} × ${height}`;
  facts({ View: `${width} × ${height}`, Decoding: `${milliseconds.toFixed(0)} ms`, Decoder: player.description, Received: size(bytes) });
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

function showTime() {
  const seek = /** @type {HTMLInputElement} */ (find("seek"));
  if (!seek.matches(":active")) seek.value = String(player.time);
  seek.setAttribute("aria-valuetext", `${clock(player.time)} of ${clock(player.duration)}`);
  const total = document.createElement("span");
  total.className = "total";
  total.textContent = ` / ${clock(player.duration)}`;
  find("time").replaceChildren(clock(player.time), total);
}
player.addEventListener("time", showTime);

player.addEventListener("view", () => {
  const { yawDeg, pitchDeg, fovDeg } = player.view;
  find("needle").setAttribute("transform", `rotate(${yawDeg})`);
  const half = (Math.min(150, player.viewport.hfovDeg) / 2) * (Math.PI / 180);
  const [x, y] = [38 * Math.sin(half), -38 * Math.cos(half)];
  find("wedge").setAttribute("d", `M0 0L${-x} ${y}A38 38 0 0 1 ${x} ${y}Z`);
});

let saidView = "";
player.addEventListener("rest", () => {
  const { yawDeg, pitchDeg, fovDeg } = player.view;
  const [side, height] = [yawDeg < 0 ? "left" : "right", pitchDeg < 0 ? "down" : "up"];
  const text = `Looking ${Math.abs(yawDeg).toFixed(0)}° ${side}, ${Math.abs(pitchDeg).toFixed(0)}° ${height}, ${fovDeg.toFixed(0)}° wide`;
  if (text !== saidView) say(text);
  saidView = text;
});

function say(/** @type {string} */ text) {
  find("said").textContent = text;
}

for (const name of ["waiting", "playing", "pause"])
  player.addEventListener(name, () => document.body.classList.toggle("waiting", player.waiting));
player.addEventListener("waiting", () => say("Waiting for the picture"));

for (const name of ["play", "pause"])
  player.addEventListener(name, () => {
    document.body.classList.toggle("playing", player.playing);
    const button = find("play");
    button.setAttribute("aria-label", player.playing ? "Pause" : "Play");
    button.title = player.playing ? "Pause (space)" : "Play (space)";
    say(player.playing ? "Playing" : `Paused at ${clock(player.time)}`);
    awake();
    keepAddress();
  });

player.addEventListener("settings", () => {
  /** @type {HTMLSelectElement} */ (find("backend")).value = player.backend ?? "";
  /** @type {HTMLSelectElement} */ (find("speed")).value = String(player.speed);
  /** @type {HTMLSelectElement} */ (find("resolution")).value = String(player.resolution);
  /** @type {HTMLInputElement} */ (find("loop")).checked = player.loop;
});

player.addEventListener("comparison", () => {
  if (player.source === "failed") {
    find("compare-note").textContent = "This browser cannot play it.";
    /** @type {HTMLInputElement} */ (find("compare")).checked = false;
    return player.setComparison(null);
  }
  find("source").textContent = player.source === "loading" ? "Source is loading" : "Source";
  find("comparison").hidden = player.split === null;
  find("psnr").textContent = player.psnrDb === null ? "" : `${player.psnrDb.toFixed(2)} dB PSNR`;
});

// What the user does

find("fullscreen").hidden = !document.fullscreenEnabled; // an iframe needs allow="fullscreen"; iPhones have none
function fullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => say("Full screen is not allowed here"));
}

function help() {
  const dialog = /** @type {HTMLDialogElement} */ (find("help"));
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

const on = (/** @type {string} */ id, /** @type {string} */ event, /** @type {(target: any) => void} */ act) =>
  find(id).addEventListener(event, ({ currentTarget }) => act(currentTarget));

on("play", "click", () => (player.playing ? player.pause() : player.play()));
on("seek", "input", (target) => player.seek(Number(target.value)));
on("compass", "click", () => controls.lookAhead());
on("zoomin", "click", () => controls.zoom(1 / 1.2));
on("zoomout", "click", () => controls.zoom(1.2));
find("fullscreen").addEventListener("click", ({ detail }) => {
  fullscreen();
  if (detail) canvas.focus(); // clicked, not pressed: the space bar is to play
});
on("again", "click", () => player.retry());
on("shortcuts", "click", help);
for (const id of ["seek", "split"]) on(id, "pointerup", () => canvas.focus()); // dragged: the arrow keys are to turn
on("speed", "change", (target) => player.setSpeed(Number(target.value)));
on("loop", "change", (target) => player.setLoop(target.checked));
on("backend", "change", (target) => player.setBackend(target.value));
on("resolution", "change", (target) => player.setResolution(target.value === "auto" ? "auto" : Number(target.value)));
on("compare", "change", (target) => {
  find("compare-note").textContent = "";
  player.setComparison(target.checked ? Number(/** @type {HTMLInputElement} */ (find("split")).value) : null);
});
on("split", "input", (target) => player.setComparison(Number(target.value)));
on("motion", "change", async (target) => {
  await controls.followDevice(target.checked).catch(() => {
    target.checked = false;
    say("This device does not tell its orientation");
  });
});
on("share", "click", async (target) => {
  const link = new URL(address(), location.href).href;
  history.replaceState(null, "", link);
  const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
  target.textContent = copied ? "Link copied" : "The link is in the address bar";
  window.setTimeout(() => (target.textContent = "Copy link to this view"), 2000);
});

function openPanel(/** @type {boolean} */ open) {
  find("panel").hidden = !open;
  find("settings").setAttribute("aria-expanded", String(open));
}
on("settings", "click", () => openPanel(find("panel").hidden === true));
canvas.addEventListener("pointerdown", () => openPanel(false));
document.addEventListener("keydown", ({ key }) => {
  awake();
  if (key !== "Escape" || find("panel").hidden) return;
  openPanel(false);
  find("settings").focus();
});
find("motion-row").hidden = !("DeviceOrientationEvent" in window && matchMedia("(pointer: coarse)").matches);

let idle = 0;
function awake() {
  document.body.classList.remove("idle");
  window.clearTimeout(idle);
  idle = window.setTimeout(() => {
    if (player.playing && find("panel").hidden) document.body.classList.add("idle");
  }, IDLE_MS);
}
for (const name of ["pointermove", "pointerdown", "focusin"]) document.addEventListener(name, awake);
