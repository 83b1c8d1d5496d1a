"""Pictures from a server: H.264 and JPEG."""

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.browser import (
    LEAST_DB,
    NEXT_PICTURE,
    Page,
    Server,
    drag,
    quality_db,
    serving_app,
    settled,
    snapshot,
)
from PIL import Image

import nerv360
from nerv360.quality import psnr
from nerv360.serving import frames
from nerv360.serving import server as serving
from nerv360.serving.pictures import Kind

pytestmark = pytest.mark.browser


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
    """Which is in pages of https:, for which names below localhost stand here: browsers trust them."""
    with serving_app(lambda: serving.create_app(clip, loopback=False)) as server:
        host = "player.localhost" if secure else "player.example"
        address = f"http://{host}:{server.port}"
        browser = launch(f"--host-resolver-rules=MAP {host} 127.0.0.1")
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
