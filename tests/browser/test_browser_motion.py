"""Files of nerv360-motion in the browser: the core decodes keys, and views are sampled from a window of a panorama."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from helpers.browser import Page, angles_of, quality_db, serving_app, settled, snapshot, static_app
from helpers.motion_clip import clip_file

import nerv360
from nerv360.codec.mux import mux
from nerv360.extract import extract_viewport
from nerv360.quality import psnr
from nerv360.serving import server as serving
from nerv360.serving.site import POSTER, VIDEO, export_site
from nerv360.types import Picture

pytestmark = pytest.mark.browser
LEAST_SAMPLED_DB = 45.0
LOOKS = ((0, 0, 0, 78.1), (179, -10, 15, 90), (-120, 88, 0, 100), (60, -90, 0, 60), (-178, 30, -170, 40))


def sampled_db(page: Page, path: Path) -> float:
    """How near the canvas at rest is to the view of the decoded panorama."""
    settled(page)
    return psnr(snapshot(page), expected_view(page, path))


def expected_view(page: Page, path: Path) -> Picture:
    with nerv360.open(path) as decoder:
        return extract_viewport(decoder.panorama(page.evaluate("player.frame")), viewport_of(page))


def viewport_of(page: Page) -> nerv360.Viewport:
    view = page.evaluate("player.viewport")
    return nerv360.Viewport(*angles_of(page), width=view["width"], height=view["height"])


def test_a_site_plays_without_a_network(motion_clip: Path, new_page: Callable[..., Page], tmp_path: Path) -> None:
    size = export_site(motion_clip, tmp_path / "site")
    size -= sum((tmp_path / "site" / name).stat().st_size for name in (VIDEO, POSTER))
    assert size < 380_000  # 373 measured; of networks, the runtime alone is 3.7 MB
    assert not (tmp_path / "site" / "player" / "onnxruntime").exists()
    requests: list[tuple[str, str | None, int, int]] = []

    async def untyped(request: web.Request, response: web.StreamResponse) -> None:
        if request.path.endswith(".wasm"):
            response.content_type = "application/octet-stream"

    def application() -> web.Application:
        app = static_app(tmp_path / "site", requests)
        app.on_response_prepare.append(untyped)
        return app

    with serving_app(application) as server:
        page = new_page()
        page.goto(server.address)
        settled(page)
        assert page.evaluate("[player.backend, player.backends, player.rough]") == ["wasm", ["wasm"], False]
        for frame, (yaw, pitch, roll, fov) in zip((0, 21, 8, 16, 4), LOOKS, strict=True):
            look = {"yawDeg": yaw, "pitchDeg": pitch, "rollDeg": roll, "fovDeg": fov}
            page.evaluate(
                "([look, frame]) => { player.setView(look); player.seek(frame / player.manifest.frameRate) }",
                [look, frame],
            )
            assert sampled_db(page, motion_clip) > LEAST_SAMPLED_DB, (frame, look)
            assert page.evaluate("player.frame") == frame
        page.wait_for_function("player.buffered.length === 1 && player.buffered[0].end === player.duration")
        page.evaluate("player.seek(0); player.play(); window.frames = []")
        page.evaluate("player.addEventListener('picture', () => frames.push(player.frame))")
        page.wait_for_function("new Set(frames).size > 5")
        page.evaluate("player.pause()")
        assert sampled_db(page, motion_clip) > LEAST_SAMPLED_DB
    asked = {name for name, *_ in requests}
    assert {"/player/motion/core.wasm", "/player/motion/priors.bin"} < asked
    assert not [name for name in asked if "onnx" in name]


@pytest.mark.parametrize("backend", ["server", "wasm"])
def test_a_server_draws_or_the_browser_does(motion_clip: Path, new_page: Callable[..., Page], backend: str) -> None:
    with serving_app(lambda: serving.create_app(motion_clip)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend={backend}#yaw=175&pitch=-20&t=0.5")
        settled(page)
        assert page.evaluate("[player.backend, player.backends]") == [backend, ["server", "wasm"]]
        assert quality_db(page, motion_clip) > 38.0
        page.get_by_role("button", name="Settings").click()
        assert page.get_by_label("Resolution").is_visible() == (backend == "server")
        facts = page.locator("#facts").inner_text()
        assert "nerv360-motion" in facts
        assert ("Window" in facts) == (backend == "wasm")


def test_a_turned_view_is_drawn_before_its_picture_comes(motion_clip: Path, new_page: Callable[..., Page]) -> None:
    """As far as the window reaches; beyond, its edge is drawn dark."""
    with serving_app(lambda: serving.create_app(motion_clip)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend=wasm")
        settled(page)
        page.evaluate("Worker.prototype.postMessage = () => {}")
        near, far = (turned(page, yaw_deg, motion_clip) for yaw_deg in (3, 150))
        assert psnr(*near) > LEAST_SAMPLED_DB
        assert far[0].mean() < 0.5 * far[1].mean()
        assert not page.evaluate("player.settled")


def turned(page: Page, yaw_deg: float, path: Path) -> tuple[Picture, Picture]:
    """What the canvas shows at another yaw, and what it is to show."""
    page.evaluate("(yawDeg) => player.setView({ yawDeg })", yaw_deg)
    return snapshot(page), expected_view(page, path)


def test_networks_and_keys_in_one_file(clip: Path, new_page: Callable[..., Page], tmp_path: Path) -> None:
    data, _ = clip_file(192, 96, [(5,)])
    (tmp_path / "keys.nerv360").write_bytes(data)
    mux([tmp_path / "keys.nerv360", clip], tmp_path / "both.nerv360")
    with serving_app(lambda: serving.create_app(tmp_path / "both.nerv360")) as server:
        page = new_page()
        page.goto(f"{server.address}?backend=wasm")
        settled(page)
        for frame in (2, 12, 4):
            page.evaluate("(frame) => player.seek(frame / player.manifest.frameRate)", frame)
            assert quality_db(page, tmp_path / "both.nerv360") > 38.0


def test_a_view_fetches_its_sectors(sectors_clip: Path, new_page: Callable[..., Page], tmp_path: Path) -> None:
    export_site(sectors_clip, tmp_path / "site")
    requests: list[tuple[str, str | None, int, int]] = []
    with serving_app(lambda: static_app(tmp_path / "site", requests)) as server:
        page = new_page()
        page.goto(f"{server.address}#fov=60")
        assert sampled_db(page, sectors_clip) > LEAST_SAMPLED_DB
        page.wait_for_function("player.buffered.length === 1 && player.buffered[0].end === player.duration")
        fetched = sum(size for name, _, _, size in requests if name.endswith(VIDEO))
        assert fetched < 0.8 * sectors_clip.stat().st_size
        facts = page.locator("#facts").text_content()
        assert re.search(r"Line\d+ kbit/s, \d+ ms.*Fetched\d+ of \d+ kB, \d+ %", facts), facts
        for yaw, pitch in ((100, 0), (178, -20), (-60, 85)):
            page.evaluate("(look) => player.setView(look)", {"yawDeg": yaw, "pitchDeg": pitch})
            assert sampled_db(page, sectors_clip) > LEAST_SAMPLED_DB, (yaw, pitch)
        page.evaluate("player.seek(0); player.play(); window.frames = []")
        page.evaluate("player.addEventListener('picture', () => frames.push(player.frame))")
        page.wait_for_function("new Set(frames).size > 5")
        page.evaluate("player.pause()")
        assert sampled_db(page, sectors_clip) > LEAST_SAMPLED_DB


def delayed_app(site: Path, delay: Callable[[], Awaitable[None]]) -> web.Application:
    """A site whose video waits before each answer."""

    async def wait(request: web.Request, _: web.StreamResponse) -> None:
        if request.path.endswith(VIDEO):
            await delay()

    app = static_app(site, [])
    app.on_response_prepare.append(wait)
    return app


def test_a_quick_turn_is_soft_at_first(sectors_clip: Path, new_page: Callable[..., Page], tmp_path: Path) -> None:
    export_site(sectors_clip, tmp_path / "site")
    slow = False

    async def delay() -> None:
        if slow:
            await asyncio.sleep(2)

    with serving_app(lambda: delayed_app(tmp_path / "site", delay)) as server:
        page = new_page()
        page.goto(f"{server.address}#fov=60")
        settled(page)
        slow = True
        page.evaluate("player.setView({ yawDeg: 180 })")
        page.wait_for_function("player.rough && !player.settled")
        soft = psnr(snapshot(page), expected_view(page, sectors_clip))
        slow = False
        sharp = sampled_db(page, sectors_clip)
        assert sharp > LEAST_SAMPLED_DB
        assert 15 < soft < sharp - 3
        assert not page.evaluate("player.rough")


def test_where_no_sectors_come_it_plays_on_softly(
    sectors_clip: Path, new_page: Callable[..., Page], tmp_path: Path
) -> None:
    export_site(sectors_clip, tmp_path / "site")
    slow = False

    async def delay() -> None:
        while slow:
            await asyncio.sleep(0.02)

    with serving_app(lambda: delayed_app(tmp_path / "site", delay)) as server:
        page = new_page()
        page.goto(f"{server.address}#fov=60")
        settled(page)
        page.wait_for_function("player.buffered.length === 1 && player.buffered[0].end === player.duration")
        page.evaluate("player.addEventListener('picture', () => frames.push([player.frame, player.rough]))")
        slow = True
        page.evaluate("window.frames = []; player.setView({ yawDeg: 180 }); player.play()")
        page.wait_for_function("new Set(frames.map(([frame]) => frame)).size > 5")
        assert all(rough for _, rough in page.evaluate("frames"))
        assert page.evaluate("player.state") == "ready"
        page.evaluate("player.pause()")
        slow = False
        assert sampled_db(page, sectors_clip) > LEAST_SAMPLED_DB
