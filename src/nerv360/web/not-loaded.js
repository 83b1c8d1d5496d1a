/** The screen where page.js, or a module that it needs, does not come. Not a module: those need a web server themselves. */

{
  const SILENT_MS = 10_000; // without a file, after which it is told; what is slow may still come
  let timer = 0;

  const show = (/** @type {string} */ title, /** @type {string} */ text, /** @type {string} */ state, again = true) => {
    const find = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
    document.body.className = state;
    find("screen-title").textContent = title;
    find("screen-text").textContent = text;
    Object.assign(find("again"), { hidden: !again, onclick: () => location.reload() });
  };

  const late = `A part of the player has not come for ${SILENT_MS / 1000} seconds: the server is slow, or does not answer.`;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => show("Waiting for the server", `${late} Playing begins when it comes.`, "loading failed gone"), SILENT_MS);
  };
  const arrivals = new PerformanceObserver(wait);
  arrivals.observe({ type: "resource" });
  wait();

  const end = (/** @type {Event} */ { target, type }) => {
    if (/** @type {HTMLElement} */ (target).id !== "page") return;
    arrivals.disconnect();
    clearTimeout(timer);
    if (type === "load") return;
    if (location.protocol === "file:")
      show("This page needs a web server", "Browsers load no modules from files. In its folder, start: python -m http.server", "failed", false);
    else show("The player cannot be loaded", "A part of it did not come from the server.", "failed");
  };
  for (const name of ["load", "error"]) document.addEventListener(name, end, { capture: true }); // these do not bubble
}
