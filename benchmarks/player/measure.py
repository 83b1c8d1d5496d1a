"""Append rows to benchmarks/player/views.tsv: the player in Chromium, on loopback.

python benchmarks/player/measure.py FILE... --size 640x360,1280x720 --backend webgl,wasm,server --threads 1
For every file, size of the page, and backend that decodes the file, the page is opened anew RUNS times for the first
picture; then views are turned to, and the clip is played.
"""

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser, Page, Request, sync_playwright

sys.path.append(str(Path(__file__).parents[1]))
from table import append, commit, cpu

from nerv360.bitstream.container import Container

RUNS, VIEWS, PLAY_S = 3, 12, 6
SOFTWARE = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SOFTWARE += ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]


def main(
    files: list[Path],
    size: Annotated[str, typer.Option(help="Of the page; several are measured one after the other.")] = "640x360",
    backend: Annotated[str, typer.Option(help="Some of webgl, wasm, webgpu, server.")] = "webgl,wasm,server",
    threads: Annotated[int, typer.Option(help="Of WebAssembly; 0 takes all.")] = 0,
) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SOFTWARE)
        for file in files:
            with Container(file) as container, served(file) as address:
                about = {"file": file.name, "model": container.segments[0].header.model, "bytes": file.stat().st_size}
                usable = usable_backends(browser, address)
                for name in (name for name in backend.split(",") if name in usable):
                    url = f"{address}?backend={name}&threads={threads}"
                    for each in size.split(","):
                        row = about | {"page": each} | measured(browser, url, *map(int, each.split("x")))
                        append(Path(__file__).parent / "views.tsv", row)
                        print(*row.values(), sep="\t", flush=True)
        browser.close()


@contextmanager
def served(file: Path) -> Iterator[str]:
    """The address at which a process plays a file."""
    command = [sys.executable, "-m", "nerv360", "play", str(file), "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split(" at ")[1].split(";")[0]
    finally:
        server.terminate()
        server.wait()


def usable_backends(browser: Browser, address: str) -> list[str]:
    page = opened(browser, address, 320, 180).page
    names: list[str] = page.evaluate("player.backends")
    page.context.close()
    return names


@dataclass(frozen=True)
class Opened:
    """A page that shows a picture, and the bytes that had come by then."""

    page: Page
    bytes: int


def measured(browser: Browser, url: str, width: int, height: int) -> dict[str, object]:
    opened(browser, url, width, height).page.context.close()  # the server has loaded, and made the network
    runs = [opened(browser, url, width, height) for _ in range(RUNS)]
    first, sharp = ([since(run.page, mark) for run in runs] for mark in ("first-picture", "first-sharp-picture"))
    page = runs[-1].page
    for other in runs[:-1]:
        other.page.context.close()
    milliseconds = [turned(page, 30 * number) for number in range(VIEWS)]
    still = page.evaluate("[player.statistics.width, player.statistics.height]")
    page.evaluate("player.play()")
    page.wait_for_timeout(2000)
    page.evaluate(
        "window.drawn = 0; window.widths = []; player.addEventListener('picture', () => {"
        "drawn++; widths.push(player.statistics.width)})"
    )
    page.wait_for_timeout(1000 * PLAY_S)
    drawn, widths = page.evaluate("[drawn, widths]")
    decoder = page.evaluate("player.description")
    page.context.close()
    return {
        "decoder": decoder,
        "view": f"{still[0]}x{still[1]}",
        "first_picture_s": f"{statistics.median(first):.2f}",
        "first_sharp_s": f"{statistics.median(sharp):.2f}",
        "bytes_until_sharp": int(statistics.median(run.bytes for run in runs)),
        "ms": f"{statistics.median(milliseconds):.0f}",
        "ms_p95": f"{sorted(milliseconds)[int(0.95 * len(milliseconds))]:.0f}",
        "pictures_per_s": f"{1000 / statistics.median(milliseconds):.1f}",
        "playing_fps": f"{drawn / PLAY_S:.1f}",
        "playing_width": int(statistics.median(widths)) if widths else 0,
        "browser": f"Chromium {browser.version}",
        "cpu": cpu(),
        "commit": commit(),
    }


def opened(browser: Browser, url: str, width: int, height: int) -> Opened:
    """The page at its first picture that is no preview, in a context without a cache."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    answered: list[Request] = []
    pictures: list[int] = []  # bytes of those that a server sends
    page.on("requestfinished", lambda request: answered.append(request))
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: pictures.append(len(data))))
    page.goto(url)
    page.wait_for_function("performance.getEntriesByName('first-sharp-picture').length > 0", timeout=120_000)
    return Opened(page, sum(pictures) + sum(request.sizes()["responseBodySize"] for request in [*answered]))


def since(page: Page, mark: str) -> float:
    """Seconds from opening the page to a mark of it."""
    return float(page.evaluate(f"performance.getEntriesByName('{mark}')[0].startTime")) / 1000


def turned(page: Page, yaw: float) -> float:
    """Milliseconds of decoding the view at rest."""
    page.evaluate(f"player.setView({{yawDeg: {yaw}, pitchDeg: {yaw / 10}}})")
    page.wait_for_function("player.settled", timeout=120_000)
    return float(page.evaluate("player.statistics.milliseconds"))


if __name__ == "__main__":
    typer.run(main)
