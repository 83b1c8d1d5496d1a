"""docs/player.jpg: the player on a desk and on a phone (make picture).

python benchmarks/player/picture.py FILE
"""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import typer
from measure import SOFTWARE
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

PICTURE = Path(__file__).parents[2] / "docs" / "player.jpg"
GAP = 16


def main(file: Path) -> None:
    command = [sys.executable, "-m", "nerv360", "play", str(file), "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(" at ")[1].split(";")[0]
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SOFTWARE)
            desk = shot(browser, address, 960, 600, phone=False)
            phone = shot(browser, address, 320, 600, phone=True)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    both = Image.new("RGB", (desk.width + GAP + phone.width, desk.height), "white")
    both.paste(desk, (0, 0))
    both.paste(phone, (desk.width + GAP, 0))
    both.save(PICTURE, quality=90, subsampling=0, optimize=True)


def shot(browser: Browser, address: str, width: int, height: int, phone: bool) -> Image.Image:
    page = browser.new_page(viewport={"width": width, "height": height}, has_touch=phone, is_mobile=phone)
    page.goto(f"{address}#fov=110&t=0.3")
    page.wait_for_function("window.player?.settled", timeout=120_000)
    page.evaluate("player.setView({ yawDeg: 48, pitchDeg: 2 })")  # the first picture took the time of warming up
    page.wait_for_function("player.settled", timeout=120_000)
    page.wait_for_timeout(1000)  # what fades in, has
    return Image.open(io.BytesIO(page.screenshot()))


if __name__ == "__main__":
    typer.run(main)
