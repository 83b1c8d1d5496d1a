"""The player in a browser: servers for its page, and what its canvas shows."""

import asyncio
import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from PIL import Image

import nerv360
from nerv360.quality import psnr

Page = Any


LEAST_DB = 40.0  # 44 measured from the server's JPEG, 69 by WebGPU, 70 by WebAssembly


PREVIEW_DB = 26.0  # 27.7 and 26.9 measured


WAIT_MS = 60_000


WAITING = "Waiting for the server"


class Server:
    """An application in a thread, at one port for as long as it is started again."""

    def __init__(self, make: Callable[[], web.Application]) -> None:
        self.make, self.port = make, 0
        self.start()

    def start(self) -> None:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def main() -> None:
            self._stop = asyncio.Event()
            runner = web.AppRunner(self.make(), access_log=None, shutdown_timeout=0.2)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            self.port = runner.addresses[0][1]
            started.set()
            await self._stop.wait()
            await runner.cleanup()

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(main(),))
        self._thread.start()
        assert started.wait(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def serving_app(make: Callable[[], web.Application]) -> Iterator[Server]:
    server = Server(make)
    try:
        yield server
    finally:
        server.stop()


def static_app(folder: Path, requests: list[tuple[str, str | None, int, int]]) -> web.Application:
    """Any web server: (path, range, status, bytes) of every request are noted."""

    async def note(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        length = response.content_length or 0
        requests.append((request.path, request.headers.get("Range"), response.status, length))

    async def index(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(folder / "index.html")

    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_static("/", folder)
    app.on_response_prepare.append(note)
    return app


INSIDE = "document.getElementById('video').shadowRoot"  # of the page's element


def settled(page: Page) -> None:
    page.wait_for_function("window.player?.settled")


def resize(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function("([width, height]) => innerWidth === width && innerHeight === height", arg=[width, height])
    settled(page)


def snapshot(page: Page) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    data = page.evaluate(
        """async () => {
          const reader = new FileReader();
          reader.readAsDataURL(await player.screenshot());
          await new Promise((resolve) => (reader.onload = resolve));
          return reader.result.split(",")[1];
        }"""
    )
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def drag(page: Page, x: float, y: float, steps: int, *, hold: bool = True) -> None:
    """From (300, 150) to here in `steps` events, 16 ms apart by their own clock: a slow machine makes no slow hand.

    With `hold`, the pointer is still for a second before it is let go: no inertia.
    """
    mouse, began = page.context.new_cdp_session(page), time.time()
    points = [(300 + (x - 300) * step / steps, 150 + (y - 150) * step / steps) for step in range(steps + 1)]
    kinds = ["mousePressed", *["mouseMoved"] * steps, "mouseReleased"]
    for index, (kind, point) in enumerate(zip(kinds, [*points, points[-1]], strict=True)):
        late = 1 if hold and kind == "mouseReleased" else 0
        event = {"type": kind, "x": point[0], "y": point[1], "button": "left", "clickCount": 1}
        mouse.send("Input.dispatchMouseEvent", event | {"timestamp": began + 0.016 * index + late})
    settled(page)


def wait_until(page: Page, happened: Callable[[], object]) -> None:
    """Wait for what the page's server or routes note, while the browser goes on."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not happened():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def quality_db(page: Page, path: Path) -> float:
    """How near the canvas at rest is to what the decoder shows at the player's view and frame."""
    settled(page)
    return canvas_db(page, path)


def canvas_db(page: Page, path: Path) -> float:
    view = page.evaluate("player.viewport")
    names = ("yawDeg", "pitchDeg", "rollDeg", "hfovDeg", "vfovDeg", "width", "height")
    with nerv360.open(path) as decoder:
        expected = decoder.viewport(page.evaluate("player.frame"), nerv360.Viewport(*(view[name] for name in names)))
    return psnr(snapshot(page), expected)


REQUESTED = """
  window.requested = []; // views that the worker is asked for
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message) {
    if (message.task === "decode") requested.push(JSON.stringify([message.frame, message.view]));
    post.call(this, message);
  };
"""


NEXT_PICTURE = """(yawDeg) => new Promise((resolve) => {
  player.addEventListener("picture", resolve, { once: true });
  player.setView({ yawDeg });
})"""


def angles_of(page: Page) -> list[float]:
    """Of the player's view, as Viewport takes them."""
    view = page.evaluate("player.viewport")
    return [view[name] for name in ("yawDeg", "pitchDeg", "rollDeg", "hfovDeg", "vfovDeg")]
