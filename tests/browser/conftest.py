"""Debian's Chromium, without a window, and what is played in it (make test-browser)."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers.browser import WAIT_MS, Page, Server, serving_app
from helpers.motion_clip import HEIGHT, WIDTH, clip_file

from nerv360.api import encode
from nerv360.codec.mux import mux
from nerv360.config import preset_for
from nerv360.serving import server as serving

PROGRAMS = ("chromium-headless-shell", "chromium")  # the first one opens pages in less than half the time
ARGUMENTS = [
    *("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),
    "--disable-gpu-compositing",  # the page around the canvas is drawn faster without an imitated GPU
]
GRID = preset_for("nerv360-grid", "fast").replace(epochs=1, group_size=4)
HOST = """<!doctype html><meta name="viewport" content="width=device-width">
<style>canvas, nerv360-player {{ width: 320px; height: 200px; }}</style>
<p>before</p><input id="name">{body}<div style="height: 3000px">after</div>
<script type="module">{script}</script>"""


@pytest.fixture(scope="session")
def film(make_video: Callable[..., Path]) -> Path:
    return make_video(width=192, height=96, frames=40)


@pytest.fixture(scope="session")
def clip(film: Path, once: Callable[..., Path]) -> Path:
    """A file of more groups than are read ahead."""
    return once("clip.nerv360", lambda path: encode(film, path, GRID))


@pytest.fixture(scope="session")
def motion_clip(once: Callable[..., Path]) -> Path:
    """A file of two segments of keys."""
    return once("motion.nerv360", lambda path: path.write_bytes(clip_file(WIDTH, HEIGHT, [(9, 6), (7,)])[0]))


@pytest.fixture(scope="session")
def stereo_clip(once: Callable[..., Path]) -> Path:
    """The same of both eyes."""
    data = partial(clip_file, WIDTH, HEIGHT, [(9, 6), (7,)], inter_view_levels=1)
    return once("stereo.nerv360", lambda path: path.write_bytes(data()[0]))


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Any]]:
    """Start Chromium with further arguments."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, f"no chromium: apt-get install {PROGRAMS[0]}"
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        yield lambda *more: driver.chromium.launch(executable_path=program, args=[*ARGUMENTS, *more])


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def play_server(clip: Path) -> Iterator[Server]:
    with serving_app(lambda: serving.create_app(clip)) as server:
        yield server


@pytest.fixture(scope="session")
def two_segments(clip: Path, film: Path, once: Callable[..., Path]) -> Path:
    def make(path: Path) -> None:
        encode(film, path.with_name("other.nerv360"), GRID.replace(seed=1))
        mux([clip, path.with_name("other.nerv360")], path)

    return once("two.nerv360", make)


@pytest.fixture(scope="session")
def host_server(clip: Path) -> Iterator[tuple[Server, list[str]]]:
    """A server of the player and a video, and the pages of others that it has at /host.html: the last one."""
    pages: list[str] = []

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=pages[-1], content_type="text/html")

    def application() -> web.Application:
        app = serving.create_app(clip)
        app.router.add_get("/host.html", answer)
        return app

    with serving_app(application) as server:
        yield server, pages


@pytest.fixture
def host(host_server: tuple[Server, list[str]], new_page: Callable[..., Page]) -> Callable[..., Page]:
    """Open a page with a script and a body, or a page of any text."""
    server, pages = host_server

    def opened(
        script: str = "",
        body: str = "<canvas></canvas>",
        text: str = "",
        prepare: Callable[[Page], object] = lambda page: None,
        **options: object,
    ) -> Page:
        pages.append(text or HOST.format(body=body, script=script))
        page = new_page(**options)
        prepare(page)
        page.goto(f"{server.address}host.html")
        return page

    return opened


@pytest.fixture(scope="session")
def sectors_clip(once: Callable[..., Path]) -> Path:
    """A clip whose keys have 50 sectors."""
    return once("sectors.nerv360", lambda path: path.write_bytes(clip_file(640, 320, [(9, 6)], sector=64)[0]))
