"""The player as a library: in pages of others."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from helpers.browser import LEAST_DB, Page, canvas_db, serving_app, settled, snapshot, wait_until
from PIL import Image

from nerv360.quality import psnr
from nerv360.serving.site import PAGE, export_site

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PLAYER = """
  import { Player } from "./player/player.js";
  import { Controls } from "./player/controls.js";
  const canvas = document.querySelector("canvas");
  window.player = new Player(canvas, { src: "player.json", backend: "server" });
  window.controls = new Controls(player, canvas);
"""


def example() -> str:
    """The script in npm/README.md, with the addresses of the page's own server."""
    text = (ROOT / "npm" / "README.md").read_text()
    block = re.search(r"\nWithout the element:\n\n```js\n([\s\S]*?)```", text)
    assert block
    return block[1].replace("@nerv360/player/", "./player/").replace("video/player.json", "player.json")


def test_the_example_of_the_documentation_plays(host: Callable[..., Page]) -> None:
    page = host(example() + "window.player = player;")
    page.wait_for_function("window.player?.frame > 1")
    assert page.evaluate("[player.playing, player.view.yawDeg, player.view.pitchDeg]") == [True, 90, 10]


def test_what_is_called_before_the_video_is_known_counts_then(host: Callable[..., Page], clip: Path) -> None:
    early = "player.seek(0.5); player.setView({ yawDeg: 170 }); player.setView({ pitchDeg: -20 });"
    page = host(PLAYER + early)
    settled(page)
    assert page.evaluate("[player.frame, player.view.yawDeg, player.view.pitchDeg]") == [14, 170, -20]
    assert canvas_db(page, clip) > LEAST_DB


def test_controls_take_keys_and_wheel_with_the_focus_only_and_can_be_removed(host: Callable[..., Page]) -> None:
    page = host(PLAYER)
    settled(page)
    page.keyboard.press("ArrowRight")
    page.fill("#name", "a")
    page.keyboard.press(" ")
    assert page.input_value("#name") == "a "
    assert page.evaluate("[player.view.yawDeg, player.playing]") == [0, False]
    page.locator("canvas").hover()
    page.mouse.wheel(0, 100)
    page.wait_for_function("scrollY === 100")
    page.evaluate("scrollTo(0, 0)")

    page.focus("canvas")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("player.view.yawDeg") > 0
    before = page.evaluate("player.view.fovDeg")
    page.mouse.wheel(0, 100)
    page.wait_for_function(f"player.view.fovDeg > {before}")
    assert page.evaluate("scrollY") == 0

    page.evaluate("controls.close()")
    yaw = page.evaluate("player.view.yawDeg")
    page.keyboard.press("ArrowRight")
    page.mouse.down()
    page.mouse.move(10, 10)
    page.mouse.up()
    assert page.evaluate("player.view.yawDeg") == yaw


def test_a_finger_on_the_canvas_turns_the_view_and_scrolls_nothing(host: Callable[..., Page]) -> None:
    page = host(PLAYER, width=390, height=700, has_touch=True, is_mobile=True)
    settled(page)
    box = page.locator("canvas").bounding_box()
    session = page.context.new_cdp_session(page)

    def swipe_up() -> None:
        for step in range(8):
            point = {"x": box["x"] + 150, "y": box["y"] + 150 - 15 * step}
            kind = "touchMove" if step else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    swipe_up()
    page.wait_for_function("player.view.pitchDeg < -5")
    assert page.evaluate("scrollY") == 0
    frames = "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"
    page.evaluate(f"controls.close(); {frames}")  # and the compositor knows
    swipe_up()
    page.wait_for_function("scrollY > 50")


def test_players_that_are_closed_leave_no_webgl_contexts(host: Callable[..., Page], clip: Path) -> None:
    page = host(PLAYER + "window.Player = Player;")
    settled(page)
    page.evaluate(
        """async () => {
          for (let count = 0; count < 20; count++) {
            const canvas = document.body.appendChild(document.createElement("canvas"));
            const other = new Player(canvas, { src: "player.json", backend: "server" });
            await new Promise((resolve) => other.addEventListener("picture", resolve, { once: true }));
            other.close();
          }
        }"""
    )
    assert page.evaluate("player.settled")
    assert canvas_db(page, clip) > LEAST_DB  # the first one has its context yet

    again = "new Player(document.querySelector('canvas'), { src: 'player.json', backend: 'server' })"
    page.evaluate(f"player.close(); window.player = {again}; 0")
    settled(page)
    assert canvas_db(page, clip) > LEAST_DB


@pytest.mark.parametrize(("backend", "description"), [("webgl", "WebGL"), ("wasm", "WebAssembly, 1 thread")])
def test_modules_may_come_from_another_origin(
    clip: Path, host: Callable[..., Page], backend: str, description: str
) -> None:
    def application() -> web.Application:
        async def allow(_: web.Request, response: web.StreamResponse) -> None:
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"

        app = web.Application()
        app.router.add_static("/", PAGE)
        app.on_response_prepare.append(allow)
        return app

    with serving_app(application) as modules:
        page = host(PLAYER.replace('"./', f'"{modules.address}').replace('"server"', f'"{backend}"'))
        settled(page)
        assert page.evaluate("[player.backend, player.description]") == [backend, description]
        assert canvas_db(page, clip) > LEAST_DB


def test_a_site_on_another_host_plays_in_a_page(clip: Path, host: Callable[..., Page], tmp_path: Path) -> None:
    """With the headers that docs/player.md names, and a content-security policy of the page."""
    export_site(clip, tmp_path / "site")
    document = (ROOT / "docs" / "player.md").read_text()
    headers = dict(
        re.findall(r"^    (Access-Control-[\w-]+|Cross-Origin-Resource-[\w-]+): (.*)$", document, re.MULTILINE)
    )
    assert len(headers) == 4

    async def allow(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers)

    def application() -> web.Application:
        app = web.Application()
        app.router.add_static("/", tmp_path / "site")
        app.on_response_prepare.append(allow)
        return app

    with serving_app(application) as other:
        origin = other.address.rstrip("/")
        policy = (
            f"default-src 'self' {origin}; script-src 'self' {origin} 'wasm-unsafe-eval'; worker-src blob: {origin}"
        )
        script = f'<script type="module" src="{origin}/player/element.js"></script>'
        element = f'<nerv360-player src="{origin}/player.json" poster="{origin}/poster.jpg" controls></nerv360-player>'
        text = f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}">{script}{element}'
        page = host(text=text)
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text) if "Security" in message.text else None)
        opened = "Boolean(window.player = document.querySelector('nerv360-player')?.player)"
        wait_until(page, lambda: page.evaluate(f"{opened} && player.settled"))  # the policy forbids wait_for_function
        assert canvas_db(page, clip) > LEAST_DB
        assert page.evaluate("player.backend") == "webgl"
        assert not refused


def test_a_three_js_scene_turns_with_the_view_that_is_its_background(clip: Path, host: Callable[..., Page]) -> None:
    three = ROOT / "tests" / "web" / "node_modules" / "three"
    if not three.exists():
        pytest.skip("three.js is not installed: npm ci --prefix tests/web")
    version = json.loads((three / "package.json").read_text())["version"]

    def fetch_here(page: Page) -> None:
        names = f"https://cdn.jsdelivr.net/npm/three@{version}/**"
        page.route(names, lambda route: route.fulfill(path=three / "build" / Path(route.request.url).name))

    page = host(text=(ROOT / "examples" / "three.html").read_text(), prepare=fetch_here)
    settled(page)
    pictures = []
    for look in ({"yawDeg": 0, "pitchDeg": 0}, {"yawDeg": 12, "pitchDeg": 9, "rollDeg": 90}):
        page.evaluate("(look) => player.setView(look)", look)
        settled(page)
        page.evaluate("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
        shown = np.array(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        place = page.evaluate("player.project(0, 0)")
        box = (slice(round(place["y"]) - 9, round(place["y"]) + 9), slice(round(place["x"]) - 9, round(place["x"]) + 9))
        decoded = snapshot(page)
        assert psnr(shown[box], decoded[box]) < 15
        shown[:, 100:380] = decoded[:, 100:380]  # where the box is
        pictures.append(psnr(shown, decoded))
    assert min(pictures) > 40


IFRAME = """<!doctype html><p style="height: 3000px">
<iframe src="./?backend=server&embed&autoplay&muted" width="400" height="300" allow="fullscreen 'none'"></iframe></p>"""


def test_in_an_iframe_the_wheel_scrolls_the_page_until_the_picture_is_clicked(host: Callable[..., Page]) -> None:
    page = host(text=IFRAME)
    page.wait_for_function("frames[0]?.player?.manifest")
    frame: Any = page.frames[1]
    assert not frame.locator("#fullscreen").is_visible()  # it is not allowed
    assert not frame.locator("#title").is_visible()
    page.wait_for_function("frames[0].player.playing && frames[0].player.muted")
    frame.evaluate("player.pause()")
    page.wait_for_function("frames[0].player.settled")
    page.mouse.move(200, 150)
    page.mouse.wheel(0, 60)
    page.wait_for_function("scrollY === 60")
    page.mouse.click(200, 150)
    before = frame.evaluate("player.view.fovDeg")
    page.mouse.wheel(0, 60)
    page.wait_for_function(f"frames[0].player.view.fovDeg > {before}")
    assert page.evaluate("scrollY") == 60
