"""WebGL 2 against WebGPU: the largest convolution of nerv360-grid by both, in Chromium on its software GPU.

python benchmarks/player/webgpu.py
A texture of half floats is convolved, 3x3, from 4 channels to 16: by fragments of WebGL, by fragments of WebGPU, and by
a compute shader. The three draw in turns; printed are the median of milliseconds, and how far their results differ.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from measure import SOFTWARE
from playwright.sync_api import sync_playwright

SCRIPT = Path(__file__).with_suffix(".js")


def main(size: Annotated[str, typer.Option(help="Of the texture.")] = "960x540", turns: int = 15) -> None:
    width, height = (int(side) for side in size.split("x"))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SOFTWARE)
        page = browser.new_page()
        page.route("**/*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto("http://localhost/")  # browsers allow WebGPU there
        answer = page.evaluate(SCRIPT.read_text(), [width, height, turns])
        browser.close()
    if answer is None:
        print("This Chromium has no WebGPU.")
        return
    print(f"adapter: {answer['adapter']}")
    first = next(iter(answer["found"].values()))["values"]
    for name, way in answer["found"].items():
        milliseconds = sorted(way["milliseconds"])
        error = max(abs(a - b) for a, b in zip(way["values"], first, strict=True))
        print(f"{name}: {milliseconds[len(milliseconds) // 2]:.1f} ms, differs by {error:.4f}")


if __name__ == "__main__":
    typer.run(main)
