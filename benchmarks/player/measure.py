"""Append rows to benchmarks/player/player.tsv: the player in Chromium, on loopback.

python benchmarks/player/measure.py FILE --size 640x360,1280x720 --backend webgl,wasm,server --threads 1
For every size and backend, the page is opened anew RUNS times for the first picture; then views are turned to, and the
clip is played.
"""

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.append(str(Path(__file__).parents[1]))
from table import append, commit, cpu

from nerv360.bitstream.container import Container

ROOT = Path(__file__).parents[2]
RUNS, VIEWS, PLAY_S = 3, 12, 6
SOFTWARE = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SOFTWARE += ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]


def main(
    file: Path,
    size: Annotated[str, typer.Option(help="Of the canvas; several are measured one after the other.")] = "648x360",
    backend: Annotated[str, typer.Option(help="Some of webgl, wasm, webgpu, server.")] = "wasm",
    threads: Annotated[int, typer.Option(help="Of WebAssembly; 0 takes all.")] = 0,
) -> None:
    command = [sys.executable, "-m", "nerv360", "play", str(file), "--no-browser", "--port", "0"]
    environment = os.environ | {"COLUMNS": "200"}
    with Container(file) as container:
        model = container.segments[0].header.model
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(" at ")[1].split(";")[0]
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SOFTWARE)
            for each in size.split(","):
                width, height = (int(side) for side in each.split("x"))
                for name in backend.split(","):
                    about = {"file": file.name, "model": model, "bytes": file.stat().st_size}
                    row = about | measured(browser, f"{address}?backend={name}&threads={threads}", name, width, height)
                    append(Path(__file__).parent / "player.tsv", row)
                    print(*row.values(), sep="\t")
            browser.close()
    finally:
        server.terminate()
        server.wait()


def measured(browser: Browser, url: str, backend: str, width: int, height: int) -> dict[str, object]:
    opened(browser, url, width, height).context.close()  # the server has loaded, and made the network
    pages = [opened(browser, url, width, height) for _ in range(RUNS)]
    first, sharp = ([since(page, mark) for page in pages] for mark in ("first-picture", "first-sharp-picture"))
    page = pages[-1]
    for other in pages[:-1]:
        other.context.close()
    page.wait_for_timeout(500)
    video = page.evaluate("player.statistics.bytes")
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
        "runtime_bytes": runtime(backend),
        "video_bytes_at_first_picture": video,
        "ms": f"{statistics.median(milliseconds):.0f}",
        "ms_p95": f"{sorted(milliseconds)[int(0.95 * len(milliseconds))]:.0f}",
        "playing_fps": f"{drawn / PLAY_S:.1f}",
        "playing_width": int(statistics.median(widths)) if widths else 0,
        "browser": f"Chromium {browser.version}",
        "cpu": cpu(),
        "commit": commit(),
    }


def opened(browser: Browser, url: str, width: int, height: int) -> Page:
    """The page after its first picture that is no preview, in a context without a cache."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.goto(url)
    page.wait_for_function("performance.getEntriesByName('first-sharp-picture').length > 0", timeout=120_000)
    return page


def since(page: Page, mark: str) -> float:
    """Seconds from opening the page to a mark of it."""
    return float(page.evaluate(f"performance.getEntriesByName('{mark}')[0].startTime")) / 1000


def turned(page: Page, yaw: float) -> float:
    """Milliseconds of decoding the view at rest."""
    page.evaluate(f"player.setView({{yawDeg: {yaw}, pitchDeg: {yaw / 10}}})")
    page.wait_for_function("player.settled", timeout=120_000)
    return float(page.evaluate("player.statistics.milliseconds"))


def runtime(backend: str) -> int:
    """Bytes of ONNX Runtime Web that the worker loads."""
    names: dict[str, tuple[str, ...]] = {"wasm": ("ort.wasm", "threaded.wasm", "threaded.js"), "webgpu": ("jspi",)}
    folder = ROOT / "src" / "nerv360" / "web" / "player" / "onnxruntime"
    return sum(
        file.stat().st_size for file in folder.iterdir() if any(name in file.name for name in names.get(backend, ()))
    )


if __name__ == "__main__":
    typer.run(main)
