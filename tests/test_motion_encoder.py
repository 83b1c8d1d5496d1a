"""The encoder by motion: any clip, any target, interrupted or not."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nerv360
from nerv360.api import encode
from nerv360.bitstream.container import Container
from nerv360.codec.encoder import checkpoint_path
from nerv360.codec.target_search import DB_PER_E, Outcome, Target, find_step
from nerv360.codec.tuning import tune
from nerv360.config import EncodingConfig, preset_for
from nerv360.errors import ArgumentError
from nerv360.evaluation.evaluate import evaluate
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport, dynamic_viewports
from nerv360.motion.encoder import Tuning
from nerv360.motion.groups import LONGEST_GROUP, split_into_groups
from nerv360.progress import Update, ignore
from nerv360.types import BT709
from nerv360.video.clip import Clip
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

INSTANT = preset_for("nerv360-motion", "instant")
SIZE = (128, 64)


def written(path: Path, frames: NDArray[np.uint8] | list[NDArray[np.uint8]]) -> Clip:
    write_frames(path, iter(frames), Fraction(25), BT709)
    return Clip.open(path, force=True)


def scene(index: int, turn: int = 0) -> NDArray[np.uint8]:
    return np.roll(render_frame(index, width=SIZE[0], height=SIZE[1], frames=64), turn, axis=1)


NOISE = np.random.default_rng(0).integers(0, 256, (5, SIZE[1], SIZE[0], 3), np.uint8)
GREY = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
CLIPS: dict[str, Callable[[], list[NDArray[np.uint8]]]] = {
    **{f"{n} frames": lambda n=n: [scene(index) for index in range(n)] for n in (1, 2, 3, 5)},
    "cut": lambda: [scene(index if index < 5 else index + 500, 0 if index < 5 else 60) for index in range(11)],
    "fade": lambda: [(scene(index) * (1 - index / 10)).astype(np.uint8) for index in range(11)],
    "flash": lambda: [np.full_like(GREY, 250) if index == 4 else scene(index) for index in range(9)],
    "black": lambda: [np.zeros_like(GREY)] * 5,
    "noise": lambda: list(NOISE),
    "spin": lambda: [scene(0, 23 * index) for index in range(9)],
}


@pytest.mark.parametrize("name", CLIPS)
def test_any_clip_is_encoded(tmp_path: Path, name: str) -> None:
    clip = written(tmp_path / "clip.mp4", CLIPS[name]())
    result = encode(clip, tmp_path / "a.nerv360", INSTANT)
    assert result.size == (tmp_path / "a.nerv360").stat().st_size
    with nerv360.open(tmp_path / "a.nerv360") as decoder:
        assert decoder.frames == clip.frames
        quality = evaluate(decoder, clip, dynamic_viewports(Viewport(width=64, height=48), clip.frames), ignore)
    assert quality.ws_psnr_db > (17 if name == "noise" else 27)
    assert result.size < clip.frames * 3 * SIZE[0] * SIZE[1]  # what storing it takes


def test_no_preset_collapses(tmp_path: Path) -> None:
    clip = written(tmp_path / "clip.mp4", [scene(index) for index in range(6)])
    for preset in ("instant", "fast", "medium", "slow"):
        encode(clip, tmp_path / f"{preset}.nerv360", nerv360.preset(preset))
        result = nerv360.eval_file(
            tmp_path / f"{preset}.nerv360", clip, views={"ahead": [Viewport(width=64, height=48)] * 6}
        )
        assert result.mean.psnr_db > 27


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return written(tmp_path_factory.mktemp("clip") / "clip.mp4", [scene(index) for index in range(12)])


@pytest.mark.parametrize("size", [9000, 30000])
def test_a_size_is_met_within_two_percent(tmp_path: Path, clip: Clip, size: int) -> None:
    result = encode(clip, tmp_path / "a.nerv360", INSTANT.replace(bitrate=8 * size * 25 / 12))
    assert 0.98 * size <= result.size <= size
    assert result.missed == ""


@pytest.mark.parametrize("quality_db", [28, 34])
def test_a_quality_is_reached(tmp_path: Path, clip: Clip, quality_db: float) -> None:
    result = encode(clip, tmp_path / "a.nerv360", INSTANT.replace(quality_db=quality_db))
    assert result.missed == ""
    measured = nerv360.eval_file(tmp_path / "a.nerv360", clip).mean.psnr_db
    assert quality_db - 0.05 <= measured <= quality_db + 0.15


def test_a_limit_that_cannot_be_kept_is_told(tmp_path: Path, clip: Clip) -> None:
    result = encode(clip, tmp_path / "a.nerv360", INSTANT.replace(bitrate=8 * 200 * 25 / 12))
    assert "more than the limit of 200 bytes" in result.missed


def test_a_panorama_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, clip: Clip) -> None:
    updates: list[Update] = []
    with pytest.raises(
        ArgumentError, match="16384x8192 takes more than 4 GiB to encode; scale it with --size 8192x4096"
    ):
        encode(replace(clip, width=16384, height=8192), tmp_path / "a.nerv360", INSTANT, on_progress=updates.append)
    assert not updates


def test_an_interrupted_encoding_goes_on_where_it_was(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerv360.codec.motion_journal.SECONDS", 0.0)
    config = nerv360.preset("fast").replace(bitrate=8 * 9000 * 25 / 12)
    encode(clip, tmp_path / "whole.nerv360", config)
    encoded: list[str] = []

    def stopping(update: Update) -> None:
        encoded.append(update.stage)
        if encoded.count("encoding") == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(clip, tmp_path / "parts.nerv360", config, on_progress=stopping)
    assert checkpoint_path(tmp_path / "parts.nerv360").exists()
    assert not (tmp_path / "parts.nerv360").exists()
    stages: list[str] = []
    encode(clip, tmp_path / "parts.nerv360", config, on_progress=lambda update: stages.append(update.stage))
    assert "trying" not in stages
    assert (tmp_path / "parts.nerv360").read_bytes() == (tmp_path / "whole.nerv360").read_bytes()
    assert not checkpoint_path(tmp_path / "parts.nerv360").exists()


def test_views_are_cut_out_of_the_panorama(tmp_path: Path, clip: Clip) -> None:
    """At the seam and over both poles too; in any order of frames, from a file that was just opened."""
    encode(clip, tmp_path / "a.nerv360", INSTANT)
    looks = [(0, 0, 0), (180, 10, 20), (-170, 80, 0), (40, -89, 45)]
    views = [Viewport(yaw, pitch, roll, 100, None, 72, 60) for yaw, pitch, roll in looks]
    for frame, view in zip((7, 0, 11, 3), views, strict=True):
        with nerv360.open(tmp_path / "a.nerv360") as alone, nerv360.open(tmp_path / "a.nerv360") as whole:
            cropped = extract_viewport(whole.panorama(frame), view)
            assert np.abs(alone.viewport(frame, view).astype(int) - cropped).max() <= 1


def test_groups_end_at_cuts_and_are_not_long() -> None:
    dark, light = np.full((32, 64, 3), 40, np.uint8), np.full((32, 64, 3), 160, np.uint8)
    assert split_into_groups([dark] * 4 + [light] * 7) == (4, 7)
    assert split_into_groups([dark] * 4 + [light] + [dark] * 4) == (9,)
    assert split_into_groups([dark]) == (1,)
    assert split_into_groups([dark] * (2 * LONGEST_GROUP + 1)) == (43, 43, 43)


def test_a_file_of_several_groups_is_read_in_any_order(tmp_path: Path) -> None:
    frames = [scene(0)] * 3 + [255 - scene(0)] * 4 + [scene(30, 50)] * 2
    clip = written(tmp_path / "clip.mp4", frames)
    encode(clip, tmp_path / "a.nerv360", INSTANT)
    with Container(tmp_path / "a.nerv360") as container:
        assert container.segments[0].header.groups == (3, 4, 2)  # type: ignore[union-attr]
    with nerv360.open(tmp_path / "a.nerv360") as decoder:
        pictures = [decoder.panorama(index) for index in range(9)]
        for index in (8, 0, 5, 2, 6):
            assert np.array_equal(decoder.panorama(index), pictures[index])


def test_the_step_that_meets_a_target_is_found() -> None:
    def outcome(step: float) -> Outcome:
        return Outcome(round(1e6 / step**1.6), 60 - 9 * float(np.log(step)), 0.0)

    step = find_step(Target(20000, None), 30.0, outcome)
    assert 19600 <= outcome(step).size <= 20000
    step = find_step(Target(None, 41.0), 5.0, outcome)
    assert 41.0 <= outcome(step).psnr_db <= 41.1


def test_tuning_takes_what_needs_fewest_bytes_at_equal_quality() -> None:
    def attempt(tuning: Tuning, factor: float) -> Outcome:
        size = 10000 / factor * (0.8 if tuning.interval == 8 else 1.0) * (0.9 if tuning.growth_b == 1.65 else 1.0)
        return Outcome(round(size), 31 - 5 * float(np.log2(factor)), 30 - 5 * float(np.log2(factor)))

    assert tune(0, attempt) == (Tuning(), 1.0)
    assert tune(1, attempt) == (Tuning(interval=8), 1.0)
    assert tune(2, attempt) == (Tuning(interval=8, growth_b=1.65), 1.0)


def test_tuning_keeps_quality() -> None:
    def attempt(tuning: Tuning, factor: float) -> Outcome:
        better = 1.0 if tuning.interval == 8 else 0.0
        return Outcome(round(10000 / factor), 31 + better - 5 * float(np.log2(factor)), 30 - 5 * float(np.log2(factor)))

    tuning, factor = tune(2, attempt)
    assert tuning == Tuning(interval=8)
    assert factor == pytest.approx(np.exp(0.5 / DB_PER_E))


def test_tuning_does_not_gain_for_views_what_panoramas_lose() -> None:
    def attempt(tuning: Tuning, factor: float) -> Outcome:
        share, lost = (0.95, 0.5) if tuning.growth_b == 1.65 else (1.0, 0.0)
        psnr_db = 31 - 5 * float(np.log2(factor))
        return Outcome(round(10000 * share / factor), psnr_db, psnr_db - lost)

    assert tune(2, attempt) == (Tuning(), 1.0)


def test_settings_that_networks_have_are_refused() -> None:
    assert EncodingConfig.of(model="nerv360-motion", effort=2) == preset_for("nerv360-motion", "medium").replace(
        rate_weight=0
    )
