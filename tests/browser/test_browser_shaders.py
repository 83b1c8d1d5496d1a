"""nerv360-grid by WebGL: its pictures are the decoder's, and where it fails, another way is taken."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import LEAST_DB, Page, Server, quality_db, serving_app, settled, static_app
from helpers.golden import FOLDER
from helpers.grid_views import VIEWS, drawn_by_torch, write_wide_file

from nerv360.bitstream.container import Container
from nerv360.geometry.viewport import Viewport
from nerv360.quality import psnr
from nerv360.serving import server as serving
from nerv360.serving.site import export_site

pytestmark = pytest.mark.browser

SHADER_DB = 60.0  # 65 measured: half precision between stages


@pytest.fixture(scope="session")
def wide(once: Callable[..., Path]) -> Path:
    return once("wide.nerv360", write_wide_file)


@pytest.fixture
def file(request: pytest.FixtureRequest) -> Path:
    return FOLDER / "nerv360-grid.nerv360" if request.param == "golden" else request.getfixturevalue(request.param)


DRAW = """async ([frame, view]) => {
  const { BrowserBackend } = await import("/player/browser-backend.js");
  const manifest = await (await fetch("/player.json")).json();
  const host = { report() {}, late() {}, buffered() {} };
  const { signal } = new AbortController();
  window.backend ??= await BrowserBackend.open(manifest, new URL(location.origin), "webgl", 1, host, signal);
  const { picture } = await backend.decode({ frame, view, moving: false });
  const context = new OffscreenCanvas(view.width, view.height).getContext("2d");
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, view.width, view.height);
  return btoa(Array.from(data, (value) => String.fromCharCode(value)).join(""));
}"""


def drawn(page: Page, frame: int, view: Viewport) -> Any:
    angles = {"yawDeg": view.yaw_deg, "pitchDeg": view.pitch_deg, "rollDeg": view.roll_deg}
    vfov_deg = float(np.degrees(2 * np.arctan(view.height / 2 / view.focal[1])))
    size = {"hfovDeg": view.hfov_deg, "vfovDeg": vfov_deg, "width": view.width, "height": view.height}
    pixels = np.frombuffer(base64.b64decode(page.evaluate(DRAW, [frame, angles | size])), np.uint8)
    return pixels.reshape(view.height, view.width, 4)[..., :3]


@pytest.mark.parametrize("file", ["golden", "two_segments", "wide"], indirect=True)
def test_pictures_are_those_of_the_decoder(file: Path, new_page: Callable[..., Page]) -> None:
    """Across segments and at moving keys; every view at another frame, forwards and back."""
    with serving_app(lambda: serving.create_app(file)) as server, Container(file) as container:
        page = new_page()
        page.goto(f"{server.address}player/errors.js")
        last = container.header.frames - 1
        qualities = []
        for index, view in enumerate(VIEWS * 2):
            frame = index * 7919 % (last + 1) if index else last
            qualities.append(psnr(drawn(page, frame, view), drawn_by_torch(container, frame, view)))
        assert min(qualities) > SHADER_DB, qualities


def replace_in(page: Page, script: str, old: str, new: str) -> None:
    """Serve a script of the player with other text."""

    def edit(route: Any) -> None:
        response = route.fetch()
        assert old in response.text()
        route.fulfill(response=response, body=response.text().replace(old, new))

    page.route(f"**/{script}", edit)


LOSE = "gl.getExtension('WEBGL_lose_context').loseContext();"
FAULTS = {
    "no WebGL in workers": ("grid-shader.js", "typeof OffscreenCanvas", "typeof nothing", "has no WebGL 2 in workers"),
    "no half floats": ("grid-shader.js", "!gl.getExtension", "!(() => null)", "does not draw half floats"),
    "a shader that does not compile": (
        "grid.glsl",
        "#ifdef HEAD",
        "#ifdef HEAD\nnonsense",
        "A shader does not compile",
    ),
    "a context that is lost again and again": (
        "grid-shader.js",
        "gl.readPixels",
        f"{LOSE} gl.readPixels",
        "taken WebGL away",
    ),
    "textures that are too small for the video": (
        "grid-shader.js",
        "gl.getParameter(gl.MAX_TEXTURE_SIZE)",
        "50",
        "too small: 50 of 96 cells across",
    ),
    "textures that are too small for the view": (
        "grid-shader.js",
        "gl.RGBA16F, width, height",
        "gl.RGBA16F, 1000 * width, height",
        "cannot draw it: it is too small",
    ),
    "too little memory": ("grid-shader.js", "gl.getError()", "gl.OUT_OF_MEMORY", "it has too little memory"),
    "half floats that are not drawn after all": (
        "grid-shader.js",
        "gl.RGBA16F, width, height",
        "gl.RGB9_E5, width, height",
        "it does not draw to such textures",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_where_webgl_fails_another_way_is_taken(
    play_server: Server, clip: Path, new_page: Callable[..., Page], fault: str
) -> None:
    script, old, new, told = FAULTS[fault]
    page = new_page()
    replace_in(page, script, old, new)
    page.goto(f"{play_server.address}?backend=webgl")
    assert quality_db(page, clip) > LEAST_DB
    assert page.evaluate("player.backend") == "server"
    page.get_by_role("button", name="Settings").click()
    assert told in page.locator("#fact-webgl").inner_text()

    page.unroute(f"**/{script}")
    page.get_by_label("Decoding").select_option("webgl")
    page.wait_for_function("player.backend === 'webgl' && player.settled")
    assert quality_db(page, clip) > LEAST_DB
    assert not page.locator("#fact-webgl").is_visible()


def test_a_context_that_is_lost_comes_back(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    once = f"if ((self.pictures = (self.pictures ?? 0) + 1) === 2) {LOSE} gl.readPixels"
    replace_in(page, "grid-shader.js", "gl.readPixels", once)
    page.goto(f"{play_server.address}?backend=webgl")
    settled(page)
    for yaw in (60, 120):
        page.evaluate(f"player.setView({{ yawDeg: {yaw} }})")
        assert quality_db(page, clip) > LEAST_DB
    assert page.evaluate("[player.backend, player.fallback]") == ["webgl", ""]


def test_a_static_site_says_what_it_needs(clip: Path, new_page: Callable[..., Page], tmp_path: Path) -> None:
    export_site(clip, tmp_path / "site")
    with serving_app(lambda: static_app(tmp_path / "site", [])) as server:
        page = new_page()
        replace_in(page, "grid-shader.js", "typeof OffscreenCanvas", "typeof nothing")
        page.goto(server.address)
        page.get_by_role("heading", name="This browser cannot play it").wait_for()
        assert "no WebGL 2 in workers" in page.locator("#screen-text").inner_text()
        page.unroute("**/grid-shader.js")
        page.get_by_role("button", name="Try again").click()
        assert quality_db(page, clip) > LEAST_DB
