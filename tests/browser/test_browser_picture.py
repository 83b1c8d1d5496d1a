"""What the page shows, by every backend, is what the decoder decodes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import (
    INSIDE,
    LEAST_DB,
    NEXT_PICTURE,
    PREVIEW_DB,
    REQUESTED,
    Page,
    Server,
    canvas_db,
    drag,
    quality_db,
    resize,
    serving_app,
    settled,
)

from nerv360.serving import server as serving

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("backend", ["webgl", "wasm", "webgpu", "server"])
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
    narrower = f"{INSIDE}.getElementById('picture').style.width = '200px'; player.settled"
    assert page.evaluate(narrower) is False  # before the browser has told the player
    settled(page)
    assert page.evaluate("player.viewport.width") == 200


def test_a_preview_until_the_network_is_there(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page(481, 321)
    held: list[Any] = []
    page.add_init_script(REQUESTED)
    page.route("**/*.onnx", lambda route: held.append(route))
    page.goto(f"{play_server.address}?backend=wasm#yaw=170&pitch=-20&t=0.5")
    page.wait_for_function("window.player?.state === 'ready'")
    assert canvas_db(page, clip) > PREVIEW_DB
    page.evaluate("window.rests = 0; player.addEventListener('rest', () => rests++)")
    page.evaluate(NEXT_PICTURE, -60)  # a drag is answered too
    page.wait_for_function("rests > 0")
    marks = "performance.getEntriesByType('mark').length"
    assert page.evaluate(f"[player.rough, player.settled, {marks}]") == [True, False, 1]
    assert canvas_db(page, clip) > PREVIEW_DB
    requested = page.evaluate("requested")
    assert len(set(requested)) == len(requested)  # of no view more than one preview

    (route,) = held
    route.continue_()
    assert quality_db(page, clip) > LEAST_DB
    marks = page.evaluate("performance.getEntriesByType('mark').map(({ name }) => name)")
    assert marks == ["first-picture", "first-sharp-picture"]


def test_the_papers_network_in_the_browser(encoded: Path, new_page: Callable[..., Page]) -> None:
    with serving_app(lambda: serving.create_app(encoded)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend=wasm#yaw=-120&pitch=35&t=0.1")
        assert quality_db(page, encoded) > LEAST_DB
        page.evaluate("player.setView({yawDeg: 175, pitchDeg: -70}); player.seek(0.19)")
        assert quality_db(page, encoded) > LEAST_DB


def test_backends_are_switched(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.get_by_role("button", name="Settings").click()
    for backend in ("wasm", "server"):
        page.get_by_label("Decoding").select_option(backend)
        page.wait_for_function(f"player.backend === '{backend}' && player.settled")
        assert quality_db(page, clip) > LEAST_DB


def drawn(page: Page) -> int:
    """Pixels of the shorter side of the decoded picture."""
    return int(page.evaluate("Math.min(player.statistics.width, player.statistics.height)"))


def test_resolutions_that_are_offered_are_drawn(
    play_server: Server, motion_clip: Path, new_page: Callable[..., Page]
) -> None:
    page = new_page(1200, 1100)
    page.goto(f"{play_server.address}?backend=server")
    settled(page)
    page.get_by_role("button", name="Settings").click()
    menu = page.get_by_label("Resolution")
    assert drawn(page) < 240  # so small a panorama leaves no choice
    assert not menu.is_visible()
    with serving_app(lambda: serving.create_app(motion_clip)) as server:
        page.goto(f"{server.address}?backend=server")
        settled(page)
        page.get_by_role("button", name="Settings").click()
        assert menu.locator("option").all_inner_texts() == ["Automatic", "360", "240"]
        for choice in (360, 240):
            menu.select_option(str(choice))
            settled(page)
            assert drawn(page) == choice
        resize(page, 480, 320)
        assert menu.locator("option").all_inner_texts() == ["Automatic", "240"]
        page.evaluate("player.setView({ fovDeg: 30 })")  # there are fewer pixels to see
        settled(page)
        assert drawn(page) < 240
        assert not menu.is_visible()
        page.evaluate("player.setResolution(1080); player.setView({ fovDeg: 78 })")
        settled(page)
        assert menu.locator("option").all_inner_texts() == ["Automatic", "240", "1080, not in this view"]
        assert drawn(page) == 320


def test_a_backend_is_switched_in_the_middle_of_a_picture(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.add_init_script(REQUESTED)
    page.goto(play_server.address + "?backend=wasm")
    settled(page)
    page.evaluate("player.play(); requested = []")
    page.wait_for_function("requested.length > 1")
    page.evaluate(
        """() => new Promise((resolve) => {
          const push = requested.push;
          requested.push = () => { // a picture was just asked for
            requested.push = push;
            for (const backend of ["server", "wasm", "server"]) player.setBackend(backend);
            resolve();
          };
        })"""
    )
    page.wait_for_function("player.backend === 'server' && player.state === 'ready'")
    page.evaluate("player.pause()")
    settled(page)


@pytest.mark.parametrize("backend", ["webgl", "wasm", "server"])
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


def test_webgl_that_is_lost_comes_back(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{play_server.address}?backend=wasm")
    settled(page)
    page.evaluate(
        """() => new Promise((resolve) => {
          const canvas = document.getElementById("video").shadowRoot.getElementById("picture");
          window.lose = canvas.getContext("webgl2").getExtension("WEBGL_lose_context");
          canvas.addEventListener("webglcontextlost", resolve);
          lose.loseContext();
        })"""
    )
    page.evaluate("window.rests = 0; player.addEventListener('rest', () => rests++)")
    page.evaluate("player.setView({yawDeg: 60})")
    page.wait_for_function("rests > 0")
    assert not page.evaluate("player.settled")
    page.evaluate("lose.restoreContext()")
    assert quality_db(page, clip) > LEAST_DB


def test_nothing_moves_while_the_picture_rests(play_server: Server, new_page: Callable[..., Page]) -> None:
    """A ring that turns unseen would be drawn all the time."""
    page = new_page()
    page.goto(f"{play_server.address}?backend=wasm")
    settled(page)
    page.wait_for_function(f"document.getAnimations().length + {INSIDE}.getAnimations().length === 0")
