"""The source video beside the picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.browser import LEAST_DB, Page, angles_of, quality_db, resize, serving_app, settled, snapshot, wait_until

import nerv360
from nerv360.quality import psnr
from nerv360.serving import server as serving
from nerv360.video.clip import Clip

pytestmark = pytest.mark.browser


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
            shown, decoded = (round(time / step) for time in (packet.pts, packet.dts))
            late = 0.7 if shown % 2 and shown < 39 else 0  # when it is shown, not when it is decoded
            packet.pts, packet.dts = round((shown + late + 15) * step), round((decoded + 15) * step)
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
        wait_until(page, lambda: held)
        held[0].abort()
        page.get_by_text("This browser cannot play it.").wait_for()
        assert not page.get_by_label("Compare with the source").is_checked()
        assert not page.locator("#comparison").is_visible()
        page.unroute("**/source")
        page.get_by_label("Compare with the source").check()
        page.wait_for_function("player.psnrDb !== null")
        assert page.locator("#source").inner_text() == "Source"
        assert page.locator("#compare-note").inner_text() == ""


def test_the_line_of_the_comparison_is_moved_by_keys(clip: Path, film: Path, new_page: Callable[..., Page]) -> None:
    with serving_app(lambda: serving.create_app(clip, source=film)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend=wasm")
        settled(page)
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Compare with the source").check()
        page.wait_for_function("player.psnrDb !== null")
        page.keyboard.press("Escape")
        line = page.get_by_role("slider", name="Where the source begins")
        pictures = {}
        line.focus()
        for key, split in (("ArrowRight", 0.51), ("ArrowLeft", 0.5), ("End", 1), ("Home", 0)):
            page.keyboard.press(key)
            settled(page)
            assert page.evaluate("player.split") == pytest.approx(split)
            assert page.evaluate("player.view.yawDeg") == 0
            pictures[key] = snapshot(page)
        source, decoded, half = pictures["Home"], pictures["End"], pictures["ArrowLeft"]
        assert psnr(source, decoded) < 35  # they can be told apart
        assert np.array_equal(half[:, :239], decoded[:, :239])
        assert np.array_equal(half[:, 242:], source[:, 242:])
        page.keyboard.press(" ")  # of which a line makes no use
        assert page.evaluate("player.playing")
        page.keyboard.press(" ")
        page.mouse.move(0, 160)  # where the line is
        page.mouse.down()
        page.mouse.move(240, 160)
        page.mouse.up()  # then keys are for the view again
        page.keyboard.press("ArrowRight")
        assert page.evaluate("player.view.yawDeg") > 0
        assert page.evaluate("player.split") == pytest.approx(0.5, abs=0.05)
