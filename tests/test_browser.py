"""The player in a real browser: Debian's Chromium, without a window (make test-browser)."""

import asyncio
import base64
import io
import itertools
import json
import math
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from aiohttp import web
from helpers.processes import running, wait_for
from PIL import Image

import nerv360
from nerv360.api import encode
from nerv360.codec.joining import join
from nerv360.config import PRESETS
from nerv360.evaluation.metrics import psnr
from nerv360.serving import frames
from nerv360.serving import server as serving
from nerv360.serving.pictures import Kind
from nerv360.serving.site import export_site
from nerv360.video.clip import Clip

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")

Page = Any
LEAST_DB = 40.0  # 44 measured from the server's JPEG, 69 by WebGPU, 70 by WebAssembly
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
ARGUMENTS += ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
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


@pytest.fixture(scope="module")
def film(make_video: Callable[..., Path]) -> Path:
    return make_video(width=192, height=96, frames=40)


@pytest.fixture(scope="module")
def clip(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of more groups than are read ahead."""
    path = tmp_path_factory.mktemp("clip") / "clip.nerv360"
    encode(film, path, replace(PRESETS["fast"], epochs=3, group_size=4))
    return path


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """Start Chromium with further arguments."""
    program = shutil.which("chromium")
    assert program, "no chromium: apt-get install chromium"
    with playwright.sync_playwright() as driver:
        yield lambda *more: driver.chromium.launch(executable_path=program, args=[*ARGUMENTS, *more])


@pytest.fixture(scope="module")
def chromium(launch: Callable[..., Any]) -> Iterator[Any]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def new_page(chromium: Any) -> Iterator[Callable[..., Page]]:
    """Pages of a size; an error that the page does not catch fails the test."""
    contexts, errors = [], []

    def make(width: int = 480, height: int = 320, **options: object) -> Page:
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: errors.append(error))
        return page

    yield make
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture(scope="module")
def play_server(clip: Path) -> Iterator[Server]:
    with serving_app(lambda: serving.create_app(clip)) as server:
        yield server


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


def drag(page: Page, x: float, y: float, steps: int) -> None:
    """From (300, 150) to here, and hold still before letting go."""
    page.mouse.move(300, 150)
    page.mouse.down()
    page.mouse.move(x, y, steps=steps)
    page.wait_for_timeout(150)  # no swing
    page.mouse.up()
    settled(page)


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


@pytest.mark.parametrize("backend", ["wasm", "webgpu", "server"])
def test_what_is_seen_is_what_the_decoder_decodes(
    play_server: Server, clip: Path, new_page: Callable[..., Page], backend: str
) -> None:
    page = new_page()
    page.goto(f"{play_server.address}?backend={backend}#yaw=170&pitch=-20&t=0.5")
    settled(page)
    assert page.evaluate("[player.backend, player.frame]") == [backend, 14]  # at 30000/1001 frames a second
    assert quality_db(page, clip) > LEAST_DB

    drag(page, 200, 200, steps=5)
    view = page.evaluate("player.viewport")
    focal = 240 / math.tan(math.radians(view["hfovDeg"]) / 2)
    assert view["pitchDeg"] == pytest.approx(-20 + math.degrees(50 / focal), abs=0.1)
    turned = (view["yawDeg"] - 170) % 360
    assert math.degrees(100 / focal) < turned < 1.1 * math.degrees(100 / focal)  # more at this latitude
    assert quality_db(page, clip) > LEAST_DB

    page.evaluate("player.setView({yawDeg: 0, pitchDeg: 89, rollDeg: 20, fovDeg: 60})")
    assert quality_db(page, clip) > LEAST_DB
    resize(page, 300, 500)
    assert page.evaluate("[player.viewport.width, player.viewport.height]") == [300, 500]
    assert quality_db(page, clip) > LEAST_DB


def test_a_canvas_of_another_size_is_not_settled(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    narrower = "document.getElementById('picture').style.width = '200px'; player.settled"
    assert page.evaluate(narrower) is False  # before the browser has told the player
    settled(page)
    assert page.evaluate("player.viewport.width") == 200


def test_a_preview_until_the_network_is_there(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page(481, 321)
    held: list[Any] = []
    page.route("**/*.onnx", lambda route: held.append(route))
    page.goto(f"{play_server.address}?backend=wasm#yaw=170&pitch=-20&t=0.5")
    page.wait_for_function("window.player?.state === 'ready'")
    assert canvas_db(page, clip) > PREVIEW_DB
    page.evaluate("window.drawn = 0; player.addEventListener('picture', () => drawn++)")
    page.evaluate(NEXT_PICTURE, -60)  # a drag is answered too
    page.wait_for_timeout(800)
    assert page.evaluate("[player.rough, player.settled, performance.getEntriesByType('mark').length]") == [
        True,
        False,
        1,
    ]
    assert page.evaluate("drawn") <= 2  # of no view more than one: in motion, and at rest
    assert canvas_db(page, clip) > PREVIEW_DB

    (route,) = held
    route.continue_()
    assert quality_db(page, clip) > LEAST_DB
    marks = page.evaluate("performance.getEntriesByType('mark').map(({ name }) => name)")
    assert marks == ["first-picture", "first-sharp-picture"]


@pytest.mark.parametrize(
    ("file", "fail", "title"),
    [
        ("**/*.onnx", {}, WAITING),
        ("**/*.onnx", {"status": 404}, "This video cannot be shown"),
        ("**/*.wasm.gz", {}, WAITING),
        ("**/*.wasm.gz", {"status": 404}, "This video cannot be shown"),
        ("**/*.wasm.gz", {"body": b"\x1f\x8b damaged"}, "This video cannot be shown"),
        ("**/ort.wasm.min.js", {}, WAITING),
        ("**/ort-wasm-simd-threaded.js", {}, WAITING),
        ("**/ort-wasm-simd-threaded.js", {"status": 404}, "This video cannot be shown"),
    ],
)
def test_a_network_that_does_not_come_has_a_screen_after_the_preview(
    play_server: Server, clip: Path, new_page: Callable[..., Page], file: str, fail: dict[str, Any], title: str
) -> None:
    page = new_page()
    page.route(file, lambda route: route.fulfill(**fail) if fail else route.abort())
    page.goto(f"{play_server.address}?backend=wasm")
    page.get_by_role("heading", name=title).wait_for()
    page.wait_for_function("player.state === 'error'")
    assert page.evaluate("performance.getEntriesByType('mark').map(({ name }) => name)") == ["first-picture"]
    page.evaluate("window.states = []; player.addEventListener('state', () => states.push(player.state))")
    page.wait_for_timeout(4000 if title == WAITING else 2000)
    states = page.evaluate("states")  # what it tries again shows when it succeeds
    assert "ready" not in states
    if file == "**/*.onnx" or title != WAITING:  # else it takes another worker
        assert states == []
    page.unroute(file)
    if title != WAITING:  # from which it recovers by itself
        page.get_by_role("button", name="Try again").click()
    assert quality_db(page, clip) > LEAST_DB


def test_a_decoder_that_does_not_come_is_waited_for(
    play_server: Server, clip: Path, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.route("**/worker.js", lambda route: route.abort())
    page.goto(f"{play_server.address}?backend=wasm")
    page.get_by_role("heading", name=WAITING).wait_for()
    page.unroute("**/worker.js")
    assert quality_db(page, clip) > LEAST_DB


def test_a_page_without_its_scripts_has_a_screen(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.route("**/controls.js", lambda route: route.abort())
    page.goto(play_server.address)
    page.get_by_role("heading", name="The player cannot be loaded").wait_for()
    page.unroute("**/controls.js")
    page.get_by_role("button", name="Try again").click()
    settled(page)


def test_the_papers_network_in_the_browser(encoded: Path, new_page: Callable[..., Page]) -> None:
    with serving_app(lambda: serving.create_app(encoded)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend=wasm#yaw=-120&pitch=35&t=0.1")
        assert quality_db(page, encoded) > LEAST_DB
        page.evaluate("player.setView({yawDeg: 175, pitchDeg: -70}); player.seek(0.19)")
        assert quality_db(page, encoded) > LEAST_DB


def test_a_drag_that_is_let_go_swings_on_and_the_address_follows(
    play_server: Server, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.evaluate("document.addEventListener('pointerup', () => (window.held = player.view.yawDeg), true)")
    mouse, began = page.context.new_cdp_session(page), time.time()
    events = (
        ("mousePressed", 300),
        ("mouseMoved", 280),
        ("mouseMoved", 260),
        ("mouseMoved", 240),
        ("mouseReleased", 240),
    )
    for index, (kind, x) in enumerate(events):  # with times of their own: a slow machine does not make a slow hand
        event = {"type": kind, "x": x, "y": 150, "button": "left", "clickCount": 1, "timestamp": began + 0.016 * index}
        mouse.send("Input.dispatchMouseEvent", event)
    settled(page)
    assert page.evaluate("player.view.yawDeg - held") > 1
    page.wait_for_function("location.hash.includes('yaw=')")
    page.wait_for_timeout(500)
    address, yaw = page.url, page.evaluate("player.view.yawDeg")
    other = new_page()
    other.goto(address)
    settled(other)
    assert other.evaluate("player.view.yawDeg") == pytest.approx(yaw, abs=0.06)


def test_keys(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{play_server.address}?backend=wasm")
    settled(page)
    start = page.evaluate("player.view")
    press = page.keyboard.press
    for key, name, sign in (("ArrowRight", "yawDeg", 1), ("ArrowUp", "pitchDeg", 1), ("+", "fovDeg", -1)):
        press(key)
        assert sign * (page.evaluate(f"player.view.{name}") - start[name]) > 1
    for key, name in (("-", "fovDeg"), ("ArrowLeft", "yawDeg"), ("ArrowDown", "pitchDeg")):
        press(key)
        assert page.evaluate(f"player.view.{name}") == pytest.approx(start[name])
    press("ArrowLeft")
    press("Home")
    assert page.evaluate("player.view") == start
    press(".")
    press(".")
    press(",")
    assert page.evaluate("player.frame") == 1
    assert quality_db(page, clip) > LEAST_DB
    press(" ")
    page.wait_for_function("player.playing && player.frame > 3")
    press(" ")
    assert not page.evaluate("player.playing")
    slider = page.get_by_role("slider", name="Time")
    slider.focus()
    slider.press("End")
    assert page.evaluate("player.frame") == 39
    assert quality_db(page, clip) > LEAST_DB


def test_keys_turn_the_view_after_a_click_on_a_button(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.click("#play")
    page.click("#play")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("player.view.yawDeg") > 0
    assert page.evaluate("document.activeElement.id") == "play"


def test_every_control_has_a_name_and_is_reached_by_tab(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page(900, 600)
    page.goto(play_server.address)
    settled(page)
    names = ["Look ahead again", "Play", "Time", "Zoom out", "Zoom in", "Settings", "Full screen"]
    reached = []
    for _ in range(len(names) + 1):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert reached[0].startswith("360-degree video")
    assert reached[1:] == names
    page.get_by_role("button", name="Settings").click()
    for label in ("Speed", "Resolution", "Decoding", "Loop"):
        assert page.get_by_label(label).is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_label("Speed").is_visible()
    page.get_by_role("button", name="Play", exact=True).click()
    assert page.get_by_role("button", name="Pause").is_visible()
    page.wait_for_function("document.getElementById('said').textContent === 'Playing'")


def test_backends_and_resolutions_are_switched(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.get_by_role("button", name="Settings").click()
    for backend in ("wasm", "server"):
        page.get_by_label("Decoding").select_option(backend)
        page.wait_for_function(f"player.backend === '{backend}' && player.settled")
        assert quality_db(page, clip) > LEAST_DB
    page.get_by_label("Resolution").select_option("240")
    settled(page)
    assert min(page.evaluate("[player.statistics.width, player.statistics.height]")) <= 240


def test_a_backend_is_switched_in_the_middle_of_a_picture(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address + "?backend=wasm")
    settled(page)
    page.evaluate("player.play()")
    page.wait_for_timeout(300)
    page.evaluate("player.setBackend('server'); player.setBackend('wasm'); player.setBackend('server')")
    page.wait_for_function("player.backend === 'server' && player.state === 'ready'")
    page.evaluate("player.pause()")
    settled(page)


def test_touch_pinches_and_drags(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page(390, 700, has_touch=True, is_mobile=True)
    page.goto(play_server.address)
    settled(page)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[int, int]) -> None:
        named = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": named})

    touch("touchStart", (150, 300), (250, 300))
    for spread in (20, 40, 60):
        touch("touchMove", (150 - spread, 300), (250 + spread, 300))
    touch("touchEnd")
    page.wait_for_function("player.view.fovDeg < 0.6 * 78.1")
    touch("touchStart", (200, 300))
    touch("touchMove", (150, 300))
    touch("touchMove", (100, 300))
    page.wait_for_function("player.view.yawDeg > 5")
    touch("touchEnd")


def traffic(page: Page) -> tuple[list[dict[str, Any]], list[Kind]]:
    """What is asked for, and the kinds of pictures that come, from now on."""
    requests: list[dict[str, Any]] = []
    kinds: list[Kind] = []

    def listen(socket: Any) -> None:
        socket.on("framesent", lambda payload: requests.append(json.loads(payload)))
        socket.on("framereceived", lambda payload: kinds.append(Kind(payload[8])))

    page.on("websocket", listen)
    return requests, kinds


def moving_db(page: Page, path: Path, request: dict[str, Any]) -> float:
    """How near the canvas is to what the decoder gives for a request, enlarged."""
    names = ("yawDeg", "pitchDeg", "rollDeg", "hfovDeg", "vfovDeg", "width", "height")
    with nerv360.open(path) as decoder:
        view = nerv360.Viewport(*(request[name] for name in names))
        expected = Image.fromarray(decoder.viewport(request["frame"], view, draft=request["draft"]))
    seen = snapshot(page)
    return psnr(seen, np.array(expected.resize((seen.shape[1], seen.shape[0]), Image.Resampling.BILINEAR)))


NEXT_PICTURE = """(yawDeg) => new Promise((resolve) => {
  player.addEventListener("picture", resolve, { once: true });
  player.setView({ yawDeg });
})"""


def test_h264_while_the_view_moves_and_a_sharp_picture_at_rest(
    play_server: Server, clip: Path, new_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.perf_counter()
    monkeypatch.setattr(frames, "time", SimpleNamespace(perf_counter=lambda: now))  # it decodes in no time
    page = new_page(481, 321)
    requests, kinds = traffic(page)
    page.goto(f"{play_server.address}?backend=server&format=h264#yaw=170&fov=110")
    settled(page)
    assert page.evaluate("player.description") == "the server, H.264"
    drag(page, 100, 170, steps=20)
    assert {Kind.KEY, Kind.DELTA} < set(kinds)
    assert kinds[-1] == Kind.JPEG
    assert quality_db(page, clip) > LEAST_DB

    page.evaluate("player.setSpeed(0); player.play()")  # it moves, and yet the frame stays
    del kinds[:]
    for yaw in (10, 14, 18):
        page.evaluate(NEXT_PICTURE, yaw)
        assert moving_db(page, clip, requests[-1]) > 35  # 39.8 measured
    assert kinds == [Kind.KEY, Kind.DELTA, Kind.DELTA]
    whole = requests[-1]["width"]
    monkeypatch.setattr(frames, "time", SimpleNamespace(perf_counter=itertools.count(now).__next__))  # in a second
    for yaw in (22, 26, 30):
        page.evaluate(NEXT_PICTURE, yaw)
    assert requests[-1]["width"] == pytest.approx(whole / 2, abs=2)
    assert kinds.count(Kind.KEY) == 2
    page.evaluate("player.pause()")
    assert quality_db(page, clip) > LEAST_DB
    assert kinds[-1] == Kind.JPEG


def test_a_decoder_that_holds_h264_back_is_given_up(
    play_server: Server, clip: Path, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.add_init_script("VideoDecoder.prototype.decode = () => {}")
    page.goto(f"{play_server.address}?backend=server&format=h264")
    settled(page)
    page.evaluate("player.play()")
    page.wait_for_function("player.description === 'the server' && player.frame > 3")
    page.evaluate("player.pause()")
    assert quality_db(page, clip) > LEAST_DB


@pytest.mark.parametrize("secure", [True, False])
def test_from_another_machine_h264_is_asked_for_where_webcodecs_is(
    clip: Path, launch: Callable[..., Any], secure: bool
) -> None:
    """Which is in pages of https:, for which a name that is trusted stands here."""
    with serving_app(lambda: serving.create_app(clip, loopback=False)) as server:
        address = f"http://player.example:{server.port}"
        trust = [f"--unsafely-treat-insecure-origin-as-secure={address}"] if secure else []
        browser = launch("--host-resolver-rules=MAP player.example 127.0.0.1", *trust)
        page = browser.new_page(viewport={"width": 480, "height": 320})
        _, kinds = traffic(page)
        page.goto(f"{address}?backend=server")
        settled(page)
        assert page.evaluate("isSecureContext") == secure
        page.evaluate("player.setView({yawDeg: 30})")
        settled(page)
        assert (Kind.KEY in kinds) == secure
        assert kinds[-1] == Kind.JPEG
        browser.close()


def test_the_view_follows_the_device(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page(390, 700, has_touch=True, is_mobile=True)
    page.goto(play_server.address + "#yaw=20")
    settled(page)
    session = page.context.new_cdp_session(page)

    def turn(alpha: float, beta: float, gamma: float) -> None:
        session.send("DeviceOrientation.setDeviceOrientationOverride", {"alpha": alpha, "beta": beta, "gamma": gamma})

    def looks(yaw: float, pitch: float, roll: float) -> None:
        near = "Math.abs(player.view.{} - {}) < 0.2"
        angles = {"yawDeg": yaw, "pitchDeg": pitch, "rollDeg": roll}
        page.wait_for_function(" && ".join(near.format(name, angle) for name, angle in angles.items()))

    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Follow the device").check()
    turn(50, 100, 0)  # held up like a window
    looks(20, 10, 0)  # on from where the view was
    turn(20, 90, 0)
    looks(50, 0, 0)
    turn(20, 120, 0)
    looks(50, 30, 0)
    page.get_by_label("Follow the device").uncheck()
    turn(90, 90, 0)
    page.wait_for_timeout(300)
    looks(50, 30, 0)


def test_a_static_site_plays_by_ranges(clip: Path, new_page: Callable[..., Page], tmp_path: Path) -> None:
    export_site(clip, tmp_path / "site")
    requests: list[tuple[str, str | None, int, int]] = []
    with serving_app(lambda: static_app(tmp_path / "site", requests)) as server:
        page = new_page()
        page.on("request", lambda request: outside.append(request.url) if server.address not in request.url else None)
        outside: list[str] = []
        page.goto(server.address)
        settled(page)
        assert page.evaluate("[player.backend, crossOriginIsolated]") == ["wasm", True]
        assert quality_db(page, clip) > LEAST_DB
        page.wait_for_timeout(300)
        read = [(span, status, length) for path, span, status, length in requests if path == "/video.nerv360"]
        assert all(status in (206, 304) and span for span, status, _ in read), read
        assert sum(length for *_, length in read) < clip.stat().st_size  # not all of it yet
        assert not [url for url in outside if not url.startswith(("blob:", "data:"))]

        server.stop()  # in mid-play
        page.evaluate("player.seek(1.3)")
        page.wait_for_selector("body.gone #screen", state="visible")
        assert page.get_by_role("heading", name=WAITING).is_visible()
        server.start()
        settled(page)
        page.wait_for_selector("#screen", state="hidden")
        assert quality_db(page, clip) > LEAST_DB


NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
{user}
events {{}}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    sendfile on;
    gzip on;
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/root;
    }}
}}
"""  # but for places and the port, the configuration that Debian's package brings


def nginx(folder: Path, port: int) -> list[str]:
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx")
    user = "user root;" if os.geteuid() == 0 else ""  # else www-data, who may not read the folder
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, user=user))
    return [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]


def http_server(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d", str(folder / "root"), str(port)]


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("host", [nginx, http_server])
def test_a_static_site_plays_from_a_stock_server_below_its_root(
    clip: Path, new_page: Callable[..., Page], tmp_path: Path, host: Callable[[Path, int], list[str]]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = host(tmp_path, port)
    (tmp_path / "root" / "videos").mkdir(parents=True)
    export_site(clip, tmp_path / "root" / "videos" / "clip")
    with running(command):
        wait_for(lambda: answers(port))
        page = new_page()
        page.goto(f"http://127.0.0.1:{port}/videos/clip/#yaw=170&pitch=-20&t=0.5")
        settled(page)
        assert page.evaluate("[player.backend, crossOriginIsolated]") == ["wasm", False]
        assert quality_db(page, clip) > LEAST_DB
        page.evaluate("player.seek(1.2)")
        assert quality_db(page, clip) > LEAST_DB


@pytest.mark.parametrize("declared", [False, True])
def test_a_ring_shows_how_much_of_the_decoder_has_come(
    clip: Path, new_page: Callable[..., Page], tmp_path: Path, declared: bool
) -> None:
    """And runs round where that is unknown: a server that declares the compression tells the compressed length."""
    export_site(clip, tmp_path / "site")
    goes_on = threading.Event()

    async def half(request: web.Request) -> web.StreamResponse:
        data = (tmp_path / "site" / request.path[1:]).read_bytes()
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"} if declared else {})
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        while not goes_on.is_set():
            await asyncio.sleep(0.02)
        await response.write(data[len(data) // 2 :])
        return response

    def application() -> web.Application:
        app = web.Application()
        app.router.add_get("/player/onnxruntime/{name}.wasm.gz", half)
        app.router.add_static("/", tmp_path / "site")
        return app

    with serving_app(application) as server:
        page = new_page()
        page.goto(f"{server.address}index.html?backend=wasm")
        ring = page.get_by_role("progressbar", name="Loading the decoder")
        ring.wait_for()
        assert page.evaluate("player.rough")
        if declared:
            page.wait_for_function("player.progress.received > 1e6")
            assert ring.get_attribute("aria-valuenow") is None
        else:
            page.wait_for_function("document.getElementById('progress').ariaValueNow === '50'")
        goes_on.set()
        assert quality_db(page, clip) > LEAST_DB
        assert not ring.is_visible()


@pytest.fixture(scope="module")
def two_segments(clip: Path, film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    encode(film, folder / "other.nerv360", replace(PRESETS["fast"], epochs=3, group_size=4, seed=1))
    join([clip, folder / "other.nerv360"], folder / "two.nerv360")
    return folder / "two.nerv360"


@pytest.mark.parametrize("backend", ["wasm", "server"])
def test_playing_goes_on_across_the_border_of_segments(
    two_segments: Path, new_page: Callable[..., Page], backend: str
) -> None:
    with serving_app(lambda: serving.create_app(two_segments)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend={backend}#yaw=170&pitch=-20&t=1.2")  # frame 35 of 80; the border is at 40
        settled(page)
        page.evaluate(
            "window.drawn = []; window.states = [];"
            "player.addEventListener('picture', () => drawn.push(player.frame));"
            "player.addEventListener('state', () => states.push(player.state)); player.play()"
        )
        page.wait_for_function("player.frame > 44 && drawn.some((frame) => frame >= 40)")
        page.evaluate("player.pause()")
        assert quality_db(page, two_segments) > LEAST_DB
        assert page.evaluate("states") == []  # ready all along
        for frame in (39, 40):
            page.evaluate(f"player.seek({frame} / player.manifest.frameRate)")
            assert quality_db(page, two_segments) > LEAST_DB
            assert page.evaluate("player.frame") == frame


def test_two_segments_are_one_video(
    clip: Path, two_segments: Path, new_page: Callable[..., Page], tmp_path: Path
) -> None:
    export_site(two_segments, tmp_path / "site")
    requests: list[tuple[str, str | None, int, int]] = []
    with serving_app(lambda: static_app(tmp_path / "site", requests)) as server:
        page = new_page()
        page.goto(server.address + "?backend=wasm")
        assert quality_db(page, two_segments) > LEAST_DB
        with nerv360.open(clip) as decoder:
            first, rate = decoder.frames, float(decoder.frame_rate)
        assert "/network-1.onnx" not in [path for path, *_ in requests]
        page.evaluate(f"player.seek({(first - 1) / rate})")  # the last frame of the first segment
        settled(page)
        page.wait_for_timeout(500)
        assert "/network-1.onnx" in [path for path, *_ in requests]  # made ready ahead
        for frame in (first, 2 * first - 1, first - 1):
            page.evaluate(f"player.seek({frame / rate})")
            settled(page)
            assert page.evaluate("player.frame") == frame
            assert quality_db(page, two_segments) > LEAST_DB


def test_a_server_that_is_gone_and_comes_back(clip: Path, new_page: Callable[..., Page]) -> None:
    with serving_app(lambda: serving.create_app(clip)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend=server")
        settled(page)
        page.evaluate("player.play()")
        page.wait_for_function("player.frame > 2")
        server.stop()
        page.wait_for_selector("body.gone #screen", state="visible")
        assert page.get_by_role("heading", name=WAITING).is_visible()
        server.start()
        page.wait_for_function("player.state === 'ready'")
        page.wait_for_selector("#screen", state="hidden")
        page.evaluate("player.pause()")
        assert quality_db(page, clip) > LEAST_DB


def test_a_server_that_hangs_is_waited_for(
    play_server: Server, clip: Path, new_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = new_page()
    hanging = False

    def talk(socket: Any) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda message: None if hanging else server.send(message))

    page.route_web_socket("**/frames", talk)
    page.goto(f"{play_server.address}?backend=server")
    settled(page)
    page.evaluate("player.play()")
    page.wait_for_function("player.frame > 2")
    hanging = True
    page.wait_for_timeout(4000)
    stopped = page.evaluate("player.time")
    page.wait_for_timeout(1000)
    assert page.evaluate("[player.time, player.state]") == [stopped, "ready"]  # no picture, no time
    page.get_by_role("heading", name=WAITING).wait_for()
    hanging = False
    page.wait_for_function("player.state === 'ready'")
    page.evaluate("player.pause()")
    assert quality_db(page, clip) > LEAST_DB

    silent = page.evaluate("import('./player/download.js').then(({ SILENT_MS }) => SILENT_MS)")
    assert silent > 2000 * serving.WORKING_S  # it hears of a server that works before it is given up
    monkeypatch.setattr(serving, "MAX_VIEWERS", 0)
    page.reload()
    page.get_by_text("0 viewers are watching. Playing goes on").wait_for()
    monkeypatch.undo()
    assert quality_db(page, clip) > LEAST_DB


@pytest.mark.parametrize("backend", ["wasm", "server"])
def test_another_file_in_its_place_is_taken_up(
    clip: Path, encoded: Path, new_page: Callable[..., Page], tmp_path: Path, backend: str
) -> None:
    path = tmp_path / "film.nerv360"
    shutil.copyfile(clip, path)
    with serving_app(lambda: serving.create_app(path)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend={backend}#yaw=50&t=1")
        settled(page)
        shutil.copyfile(encoded, tmp_path / "new")
        (tmp_path / "new").replace(path)
        if backend == "server":  # which has the old one open
            server.stop()
            server.start()
            page.evaluate("player.seek(0.2)")
        else:  # which has all of it: another decoder has not
            page.evaluate("player.setBackend('webgpu')")
        page.wait_for_function("player.manifest.frames === 6")
        assert quality_db(page, path) > LEAST_DB
        assert page.evaluate("[player.view.yawDeg, player.frame]") == [50, 5]  # the last that there is
        assert page.evaluate("Number(document.getElementById('seek').max) === player.duration")


def test_webgl_that_is_lost_comes_back(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{play_server.address}?backend=wasm")
    settled(page)
    page.evaluate(
        "window.lose = document.getElementById('picture').getContext('webgl2').getExtension('WEBGL_lose_context');"
        "lose.loseContext()"
    )
    page.evaluate("player.setView({yawDeg: 60})")
    page.wait_for_timeout(300)
    page.evaluate("lose.restoreContext()")
    page.wait_for_timeout(300)
    assert quality_db(page, clip) > LEAST_DB


def test_what_is_pressed_ends_the_swing(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    swing = """() => {
      const canvas = document.getElementById("picture");
      const event = (name, x, at) => {
        const made = new PointerEvent(name, { pointerId: 1, clientX: x, clientY: 150, button: 0, bubbles: true });
        Object.defineProperty(made, "timeStamp", { value: at });
        canvas.dispatchEvent(made);
      };
      canvas.setPointerCapture = () => {};
      event("pointerdown", 300, 0);
      for (let step = 1; step < 6; step++) event("pointermove", 300 - 20 * step, 16 * step);
      event("pointerup", 200, 81);
    }"""
    for end in (lambda: page.keyboard.press("Home"), lambda: page.click("#compass")):
        page.evaluate(swing)
        page.wait_for_timeout(50)
        end()
        settled(page)
        assert page.evaluate("player.view.yawDeg") == 0


def test_keys_in_capitals_and_after_full_screen(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.keyboard.press("F")
    page.wait_for_function("document.fullscreenElement !== null")
    page.keyboard.press("F")
    page.wait_for_function("document.fullscreenElement === null")
    page.click("#fullscreen")
    page.wait_for_function("document.fullscreenElement !== null")
    page.keyboard.press(" ")
    assert page.evaluate("[player.playing, document.fullscreenElement !== null]") == [True, True]


def test_an_address_says_where_and_when(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address + "#t=0.5")
    settled(page)
    page.evaluate("location.hash = '#yaw=30'")
    page.wait_for_function("player.view.yawDeg === 30")
    assert page.evaluate("player.time") == 0.5
    for frame in (1, 2, 3, 7, 13, 23, 29, 39):  # at 30000/1001 frames a second
        page.evaluate(f"player.seek({frame} / player.manifest.frameRate)")
        page.wait_for_timeout(450)
        told = float(re.search(r"t=([\d.]+)", page.url)[1])
        assert math.floor(told * 30000 / 1001 + 1e-6) == frame


def test_a_page_that_was_held_up_goes_on_from_where_it_was(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{play_server.address}?backend=server")
    settled(page)
    page.evaluate("player.setSpeed(0.2); player.play()")
    before, after, besides = page.evaluate(
        """() => new Promise((resolve) => {
          let frame = 0;
          const note = (now) => { frame = now; requestAnimationFrame(note); };
          requestAnimationFrame(note);
          setTimeout(() => {
            const [before, begin] = [player.time, performance.now()];
            while (performance.now() < begin + 3000);
            const besides = begin - frame - (begin + 3000);
            const told = () => resolve([before, player.time, (besides + performance.now()) / 1000]);
            requestAnimationFrame(() => requestAnimationFrame(told));
          }, 200);
        })"""
    )
    assert after - before - 0.2 * besides < 0.2 * 1.1  # a second of the three, and what went by before and after


def angles_of(page: Page) -> list[float]:
    """Of the player's view, as Viewport takes them."""
    view = page.evaluate("player.viewport")
    return [view[name] for name in ("yawDeg", "pitchDeg", "rollDeg", "hfovDeg", "vfovDeg")]


def test_the_source_beside_the_picture(clip: Path, film: Path, new_page: Callable[..., Page]) -> None:
    with serving_app(lambda: serving.create_app(clip, source=film)) as server:
        page = new_page(480, 300)
        page.goto(f"{server.address}?backend=wasm#yaw=175&pitch=20&t=0.5")
        settled(page)
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Compare with the source").check()
        page.wait_for_function("player.psnrDb !== null")
        angles = angles_of(page)
        frame = page.evaluate("player.frame")
        original = next(Clip.open(film).read(frame, frame + 1))
        seen = snapshot(page)
        expected = nerv360.extract_viewport(original, nerv360.Viewport(*angles, 480, 300))
        assert psnr(seen[:, 242:], expected[:, 242:]) > 35  # 36.8 measured: another decoder's chroma
        width, height = page.evaluate("[player.statistics.width, player.statistics.height]")
        small = nerv360.Viewport(*angles, width, height)
        with nerv360.open(clip) as decoder:
            decoded = decoder.viewport(frame, small)
        told = page.evaluate("player.psnrDb")
        assert told == pytest.approx(psnr(decoded, nerv360.extract_viewport(original, small)), abs=0.5)  # 0.26: chroma
        resize(page, width, height)
        page.evaluate("player.setComparison(0)")  # nothing but the source, as this browser decodes it
        assert told == pytest.approx(psnr(decoded, snapshot(page)), abs=1e-3)
        resize(page, 480, 300)
        assert "dB PSNR" in page.locator("#psnr").inner_text()
        page.get_by_label("Compare with the source").uncheck()
        assert quality_db(page, clip) > LEAST_DB


def remuxed(film: Path, path: Path) -> Path:
    """The same pictures at uneven times, from 0.5 s on: every other one is late, and shown for a third as long."""
    with av.open(film) as source, av.open(path, "w") as output:
        old = source.streams.video[0]
        new = output.add_stream_from_template(old)
        step = 1 / (old.average_rate * old.time_base)
        for packet in source.demux(old):
            if packet.dts is None:
                continue
            for name in ("pts", "dts"):
                number = round(getattr(packet, name) / step)
                setattr(packet, name, round((number + (0.7 if number % 2 and number < 39 else 0) + 15) * step))
            packet.stream = new
            output.mux(packet)
    return path


def test_a_source_whose_frames_come_at_uneven_times(
    clip: Path, film: Path, new_page: Callable[..., Page], tmp_path: Path
) -> None:
    uneven = remuxed(film, tmp_path / "uneven.mp4")
    with serving_app(lambda: serving.create_app(clip, source=uneven)) as server:
        page = new_page(480, 300)
        page.goto(f"{server.address}?backend=wasm#yaw=175&pitch=20")
        settled(page)
        page.evaluate("player.setComparison(0)")
        for frame in (15, 16, 39):
            page.evaluate(f"player.seek({frame} / player.manifest.frameRate)")
            page.wait_for_function(f"player.settled && player.psnrDb !== null && player.frame === {frame}")
            original = next(Clip.open(film).read(frame, frame + 1))
            expected = nerv360.extract_viewport(original, nerv360.Viewport(*angles_of(page), 480, 300))
            assert psnr(snapshot(page), expected) > 35


def test_a_source_that_is_late_or_cannot_be_played_is_told(
    clip: Path, film: Path, new_page: Callable[..., Page]
) -> None:
    with serving_app(lambda: serving.create_app(clip, source=film)) as server:
        page = new_page()
        held: list[Any] = []
        page.route("**/source", lambda route: held.append(route))
        page.goto(server.address)
        settled(page)
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Compare with the source").check()
        page.get_by_text("Source is loading").wait_for()
        while not held:
            page.wait_for_timeout(50)
        held[0].abort()
        page.get_by_text("This browser cannot play it.").wait_for()
        assert not page.get_by_label("Compare with the source").is_checked()
        assert not page.locator("#comparison").is_visible()
        page.unroute("**/source")
        page.get_by_label("Compare with the source").check()
        page.wait_for_function("player.psnrDb !== null")
        assert page.locator("#source").inner_text() == "Source"
        assert page.locator("#compare-note").inner_text() == ""


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data[:200], "damaged"),
        (lambda data: b"\x89PNG" + data[4:], "not a .nerv360 file"),
        (lambda data: data[:3000] + bytes(40) + data[3040:], "damaged"),
        (lambda data: data[:8] + b"\x01" + data[9:], "older"),
        (lambda data: data[:8] + b"\xff" + data[9:], "newer"),
    ],
)
def test_a_broken_file_has_a_screen(
    clip: Path, new_page: Callable[..., Page], tmp_path: Path, damage: Callable[[bytes], bytes], told: str
) -> None:
    export_site(clip, tmp_path / "site")
    (tmp_path / "site" / "video.nerv360").write_bytes(damage(clip.read_bytes()))
    with serving_app(lambda: static_app(tmp_path / "site", [])) as server:
        page = new_page()
        page.goto(server.address)
        page.get_by_role("heading", name="This video cannot be shown").wait_for()
        assert told in page.locator("#screen-text").inner_text()
        assert page.get_by_role("button", name="Try again").is_visible()


def test_a_browser_without_webgl_has_a_screen(play_server: Server, chromium: Any) -> None:
    context = chromium.new_context()
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page = context.new_page()
    page.goto(play_server.address)
    page.get_by_role("heading", name="This browser cannot play it").wait_for()
    assert "WebGL" in page.locator("#screen-text").inner_text()
    context.close()


def test_the_page_asks_for_nothing_that_is_not_there(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    missing: list[str] = []
    page.on("response", lambda response: missing.append(response.url) if response.status >= 400 else None)
    page.goto(f"{play_server.address}?backend=wasm")
    settled(page)
    assert not missing
    assert re.fullmatch(r".* · nerv360", page.title())
