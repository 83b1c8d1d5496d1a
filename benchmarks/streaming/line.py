"""The player in Chromium, behind a line of a set rate and latency, while the view turns.

python benchmarks/streaming/line.py FILE --rates 0.5,2 --latencies 10,100

Adds rows to benchmarks/streaming/line.tsv. FILE is of nerv360-motion with sectors.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from aiohttp import web
from measure import jumping, wandering
from playwright.sync_api import Browser, sync_playwright

sys.path.append(str(Path(__file__).parents[1]))
from player.measure import SOFTWARE
from table import append, commit

from nerv360.bitstream.container import Container
from nerv360.serving.site import VIDEO, export_site

TABLE = Path(__file__).with_name("line.tsv")
PATHS = {"wandering": wandering, "jumping": jumping}
WIDTH, HEIGHT = 320, 180
PACKET = 1400  # bytes that a line carries at once, of all answers in turn
HEADERS = 400  # bytes of an answer, beside the data
MOST_DB = 60.0  # of a picture that is as it should be
WAIT_MS = 300_000
BEGIN = """(views) => {
  const look = (frame) => ({ yawDeg: views[frame][0], pitchDeg: views[frame][1] });
  const { width, height } = player.viewport;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  let asked = 0; // frame
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message) {
    if (message.task === "decode") asked = message.frame;
    post.call(this, message);
  };
  window.pixels = (frame) => {
    player.setView(look(frame));
    player.draw();
    copy.drawImage(document.getElementById("video").shadowRoot.getElementById("picture"), 0, 0);
    return copy.getImageData(0, 0, width, height).data;
  };
  window.whole = async (frame) => {
    player.seek((frame + 0.5) / player.manifest.frameRate);
    player.setView(look(frame));
    await new Promise((resolve) => {
      const wait = () => (player.settled ? resolve() : setTimeout(wait, 10));
      wait();
    });
    return pixels(frame);
  };
  window.shown = []; // pictures
  window.dueAt = []; // of frames, milliseconds
  let watching = true;
  const turn = () => {
    if (!watching) return;
    dueAt[player.frame] ??= performance.now();
    player.setView(look(player.frame));
    requestAnimationFrame(turn);
  };
  player.addEventListener("picture", () => {
    if (!watching) return;
    const at = performance.now();
    shown.push({ frame: asked, at, late: at - dueAt[asked], rough: player.rough, pixels: pixels(asked) });
  });
  player.addEventListener("ended", () => { watching = false; window.endedAt = performance.now(); });
  player.setLoop(false);
  turn();
  player.play();
}"""
COMPARE = """async () => {
  const COMPARED = 3; // one picture of so many
  const found = [];
  for (const { pixels, ...picture } of shown) {
    if (found.length % COMPARED) {
      found.push(picture);
      continue;
    }
    const whole = await window.whole(picture.frame);
    const error = whole.reduce((sum, each, i) => sum + (each - pixels[i]) ** 2, 0) / (0.75 * whole.length);
    found.push({ ...picture, db: 10 * Math.log10(255 ** 2 / Math.max(error, 1e-9)) });
  }
  return { pictures: found, endedAt };
}"""


class Line:
    """What carries answers, all at one rate together; it starts to carry each a round trip after it was asked for."""

    def __init__(self, rate: float, latency_s: float) -> None:
        self.rate, self.latency_s = rate, latency_s
        self.bytes = self.requests = 0
        self._free_at = 0.0

    async def answer(self, request: web.Request, path: Path) -> web.StreamResponse:
        size, asked = path.stat().st_size, request.http_range
        start, end = asked.start or 0, min(size, asked.stop or size)
        await asyncio.sleep(self.latency_s)
        response = web.StreamResponse(status=206, headers={"Content-Range": f"bytes {start}-{end - 1}/{size}"})
        response.content_length = end - start
        self.requests += 1
        await self._carry(HEADERS)
        await response.prepare(request)
        with path.open("rb") as file:
            file.seek(start)
            for at in range(start, end, PACKET):
                data = file.read(min(PACKET, end - at))
                await self._carry(len(data))
                self.bytes += len(data)
                await response.write(data)
        return response

    async def _carry(self, size: int) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + size / self.rate
        await asyncio.sleep(self._free_at - now)


def main(
    file: Path,
    rates: Annotated[str, typer.Option(help="Of the line, in mean rates of the file.")] = "0.5,2",
    latencies: Annotated[str, typer.Option(help="Milliseconds from a request to its answer.")] = "10,100",
    paths: Annotated[str, typer.Option(help="Some of wandering, jumping.")] = "wandering",
) -> None:
    with Container(file) as container:
        frames, seconds = container.header.frames, float(container.timeline.start_s(container.header.frames))
    size = file.stat().st_size
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        export_site(file, Path(folder) / "site")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SOFTWARE)
        for name in paths.split(","):
            views = [(view.yaw_deg, view.pitch_deg) for view in PATHS[name](frames, frames / seconds)]
            for latency in map(float, latencies.split(",")):
                for rate in map(float, rates.split(",")):
                    line = Line(rate * size / seconds, latency / 1000)
                    with served(Path(folder) / "site", line) as address:
                        found = watched(browser, address, views, line)
                    row = {"file": file.name, "view": name, "rate": rate, "latency_ms": f"{latency:.0f}"}
                    row |= summary(found, frames, seconds) | {"requests": found["requests"]}
                    row |= {"of_file": f"{100 * found['bytes'] / size:.0f}", "commit": commit()}
                    append(TABLE, row)
                    print(json.dumps(row), flush=True)
        browser.close()


@contextmanager
def served(folder: Path, line: Line) -> Iterator[str]:
    """The address of a site whose video comes by a line, and all else at once."""

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.path.strip("/") or "index.html"
        return await line.answer(request, folder / name) if name == VIDEO else web.FileResponse(folder / name)

    loop, started = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{name:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.append(runner.addresses[0][1])
        started.set()
        await stop.wait()
        await runner.cleanup()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{ports[0]}/"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def watched(browser: Browser, address: str, views: list[tuple[float, float]], line: Line) -> dict[str, Any]:
    """What was shown of a video that is played once from its beginning, and what was fetched for it."""
    page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.wait_for_function("window.player?.manifest && player.viewport.width > 0")
    began = page.evaluate("performance.now()")
    page.evaluate(BEGIN, views)
    page.wait_for_function("window.endedAt")
    fetched = {"bytes": line.bytes, "requests": line.requests}
    line.rate, line.latency_s = 1e9, 0.0
    found = page.evaluate(COMPARE)
    page.context.close()
    return fetched | {"began": began} | found


def summary(found: dict[str, Any], frames: int, seconds: float) -> dict[str, Any]:
    pictures = found["pictures"]
    first = pictures[0]["at"]
    decibels = np.minimum(MOST_DB, [each["db"] for each in pictures if "db" in each])
    sharp = {each["frame"] for each in pictures if not each["rough"]}
    late = [each["late"] for each in pictures]
    return {
        "first_s": f"{(first - found['began']) / 1000:.2f}",
        "waited_s": f"{(found['endedAt'] - first) / 1000 - seconds:.2f}",
        "shown": f"{100 * len({each['frame'] for each in pictures}) / frames:.0f}",
        "sharp": f"{100 * len(sharp) / frames:.0f}",
        "late_ms_p95": f"{np.percentile(late, 95):.0f}",
        "psnr_db": f"{decibels.mean():.1f}",
        "psnr_db_p5": f"{np.percentile(decibels, 5):.1f}",
    }


if __name__ == "__main__":
    typer.run(main)
