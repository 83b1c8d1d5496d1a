/** The style of `<nerv360-player>`. Its colours and its size are for pages to set, as in page.css. */

const CSS = `
:host {
  --ink: CanvasText;
  --soft: color-mix(in srgb, CanvasText 70%, Canvas);
  --panel: color-mix(in srgb, Canvas 82%, transparent);
  --line: color-mix(in srgb, CanvasText 14%, transparent);
  --there: color-mix(in srgb, CanvasText 25%, transparent);
  --press: color-mix(in srgb, CanvasText 10%, transparent);
  --accent: #3b82f6;
  --ground: #000;
  --gap: 12px;
  display: block; position: relative; aspect-ratio: 16 / 9; overflow: hidden; container-type: inline-size;
  background: var(--ground); color: var(--ink); color-scheme: light dark;
  font: 15px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
.unseen { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

#said.warning {
  inset: auto auto 90px 50%; translate: -50%; width: max-content; max-width: calc(100% - 2 * var(--gap)); height: auto; margin: 0;
  padding: 6px 14px; border-radius: 14px; clip-path: none; white-space: normal; z-index: 1; background: var(--panel);
}

#picture, #poster { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
#picture { cursor: grab; outline: none; }
#picture:active { cursor: grabbing; }
#picture:focus-visible { outline: 3px solid transparent; outline-offset: -3px; animation: focused 2s; } /* seen, then out of the way */
#poster { object-fit: cover; pointer-events: none; }
.empty #picture { opacity: 0; }
::slotted([slot=marker]) { position: absolute; left: 0; top: 0; }

#bars { position: absolute; inset: 0; pointer-events: none; transition: opacity 0.25s, visibility 0.25s; }
.bar, ::slotted(.bar) {
  position: absolute; display: flex; align-items: center; gap: 4px; padding: 6px; pointer-events: auto;
  background: var(--panel); border: 1px solid var(--line); border-radius: 14px;
  backdrop-filter: blur(14px) saturate(1.3); -webkit-backdrop-filter: blur(14px) saturate(1.3);
}
footer {
  left: 50%; translate: -50% 0; bottom: max(var(--gap), env(safe-area-inset-bottom));
  width: min(860px, 100% - 2 * var(--gap));
}
:host(:not([controls])) footer, .failed #bars { display: none; }
.idle #bars { opacity: 0; visibility: hidden; }
.idle #picture { cursor: none; }

button, ::slotted(button) { font: inherit; color: inherit; background: none; border: 0; border-radius: 9px; cursor: pointer; }
#captions {
  position: absolute; inset: var(--gap) var(--gap) calc(var(--gap) + 68px); pointer-events: none;
  font-size: clamp(16px, 2.4cqi, 28px); line-height: 1.45; text-wrap: balance; white-space: pre-line;
}
:host(:not([controls])) #captions, .idle #captions { bottom: var(--gap); }
#captions p { position: absolute; margin: 0; }
#captions span:not(span span) {
  padding: 2px 10px; border-radius: 8px; color: #fff; background: rgb(0 0 0 / 0.75); box-decoration-break: clone; -webkit-box-decoration-break: clone;
}
[aria-pressed=true] { color: var(--accent); }

button:hover, ::slotted(button:hover) { background: var(--press); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
footer button, ::slotted([slot=buttons]) { flex: none; width: 44px; height: 44px; padding: 0; display: grid; place-items: center; }
footer svg { width: 24px; height: 24px; fill: currentColor; }
#stage:not(.playing) .is-playing, .playing .is-paused { display: none; }
#stage:not(.muted) .is-muted, .muted .is-heard { display: none; }
#volume { flex: none; width: 72px; height: 44px; margin: 0; accent-color: var(--accent); cursor: pointer; }
#time { flex: none; min-width: 8.2em; text-align: center; font-size: 13px; font-variant-numeric: tabular-nums; color: var(--soft); white-space: nowrap; }

#timeline { position: relative; flex: 1; min-width: 40px; margin: 0 8px; }
#seek {
  appearance: none; width: 100%; height: 44px; margin: 0; display: block; cursor: pointer;
  background: linear-gradient(90deg, var(--accent) calc(100% * var(--played, 0)), var(--line) 0), var(--buffered, none);
  background-size: 100% 4px; background-position: center; background-repeat: no-repeat;
}
#seek::-webkit-slider-thumb { appearance: none; width: 14px; height: 14px; border-radius: 50%; background: var(--accent); }
#seek::-moz-range-thumb { width: 14px; height: 14px; border: 0; border-radius: 50%; background: var(--accent); }
#pointed {
  position: absolute; bottom: 100%; translate: -50% 0; padding: 2px 8px; border-radius: 8px; pointer-events: none;
  background: var(--panel); font-size: 13px; font-variant-numeric: tabular-nums;
}

#buffering {
  position: absolute; inset: 0; margin: auto; width: 64px; height: 64px; padding: 6px; border-radius: 50%;
  background: var(--panel); opacity: 0; visibility: hidden; pointer-events: none; transition: opacity 0.25s, visibility 0.25s;
}
.waiting #buffering { opacity: 1; visibility: visible; }
#buffering circle { fill: none; stroke: var(--line); stroke-width: 4; }
#buffering .arc {
  stroke: var(--accent); stroke-linecap: round; stroke-dasharray: 0.25 1; transform-origin: 50% 50%;
}
.waiting #buffering .arc { animation: turn 1.1s linear infinite; } /* while it is seen: every frame of it costs */
.message { position: absolute; inset: 0; margin: 0; display: grid; place-content: center; justify-items: center; gap: 12px; padding: 24px; text-align: center; background: var(--panel); }
.message p { margin: 0; max-width: 30em; overflow-wrap: anywhere; }
.message button { min-height: 44px; padding: 0 18px; border: 1px solid var(--line); }
@keyframes focused { from, 50% { outline-color: var(--accent); } }
@keyframes turn { to { rotate: 1turn; } }

@container (max-width: 640px) {
  .wide, #time .total { display: none; }
  #time { min-width: 0; }
}
@media (prefers-reduced-motion: reduce) {
  #bars { transition: none; }
  .waiting #buffering .arc { animation-duration: 4s; }
}
@media (prefers-reduced-transparency: reduce) {
  .bar, ::slotted(.bar) { background: var(--ground); }
}`;

/** @type {CSSStyleSheet | null} */
let sheet = null;

/** One for all players of a page. A content-security policy that forbids style elements allows it. */
export function elementStyle() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
