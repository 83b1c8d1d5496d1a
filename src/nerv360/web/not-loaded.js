/** The screen where page.js, or a module that it needs, does not come. Not a module: those need a web server themselves. */

document.addEventListener("error", ({ target }) => {
  if (/** @type {HTMLElement} */ (target).id !== "page") return;
  const [title, text, again] = ["screen-title", "screen-text", "again"].map((id) => /** @type {HTMLElement} */ (document.getElementById(id)));
  const isFile = location.protocol === "file:";
  document.body.className = "failed";
  title.textContent = isFile ? "This page needs a web server" : "The player cannot be loaded";
  text.textContent = isFile
    ? "Browsers load no modules from files. In its folder, start: python -m http.server"
    : "A part of it did not come from the server.";
  again.hidden = isFile;
  again.onclick = () => location.reload();
}, { capture: true }); // errors of elements do not bubble
