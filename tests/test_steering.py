"""Targets of size and quality: the weight of the rate is found while a network is fitted."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from test_grid import CONFIG

import nerv360
from nerv360.codec.encoder import size_limit
from nerv360.errors import ArgumentError
from nerv360.training.checkpoint import Progress
from nerv360.training.steering import LANDINGS, TURNS, Steering, missed
from nerv360.video.clip import Clip


class Film:
    """A file whose size follows the weight of the rate, late."""

    def __init__(self, scale: float) -> None:
        self.scale, self.bytes = scale, 10 * scale

    def size(self) -> int:
        return round(self.bytes)

    def follow(self, progress: Progress, steps: int) -> None:
        wanted = self.scale * progress.rate_weight**-0.6
        self.bytes *= (wanted / self.bytes) ** (10 / steps)


@pytest.mark.parametrize("limit", [3_000, 20_000, 150_000])
@pytest.mark.parametrize("steps", [500, 6400])
def test_a_size_is_met(limit: int, steps: int) -> None:
    film, progress = Film(40_000), Progress(rate_weight=2.0)
    steering = Steering(limit, None, film.size)
    while progress.step < steps + progress.landing:
        film.follow(progress, steps)
        progress.step += 1
        steering.turn(progress, steps)
    assert 0.95 * limit <= film.size() <= limit
    assert progress.landing <= LANDINGS * steps // TURNS


def test_a_size_out_of_reach_ends_the_fit() -> None:
    progress = Progress(rate_weight=2.0)
    steering = Steering(100, None, lambda: 5000)
    while progress.step < 500 + progress.landing:
        progress.step += 1
        steering.turn(progress, 500)
    assert progress.landing == LANDINGS * 500 // TURNS
    assert progress.rate_weight > 1000


@pytest.mark.parametrize(("now_db", "heavier"), [(27.0, False), (33.0, True)])
def test_a_quality_is_steered_to(now_db: float, heavier: bool) -> None:
    progress = Progress(step=88, rate_weight=2.0, psnr_db=now_db)
    Steering(None, 30.0, lambda: 0).turn(progress, 100)
    assert (progress.rate_weight > 2.0) == heavier
    early = Progress(step=8, rate_weight=2.0, psnr_db=now_db)
    Steering(None, 30.0, lambda: 0).turn(early, 100)
    assert early.rate_weight == 2.0


class Sight:
    """Views whose PSNR follows the weight of the rate, late."""

    def __init__(self, at_two_db: float) -> None:
        self.at_two_db, self.db = at_two_db, at_two_db - 6

    def follow(self, progress: Progress, steps: int) -> None:
        wanted_db = self.at_two_db - 8 * math.log10(progress.rate_weight / 2)
        self.db += (wanted_db - self.db) * min(1, 15 / steps)
        progress.psnr_db = self.db


@pytest.mark.parametrize("quality_db", [26.0, 30.0, 33.0])
@pytest.mark.parametrize("steps", [500, 6400])
def test_a_quality_is_met(quality_db: float, steps: int) -> None:
    sight, progress = Sight(29.5), Progress(rate_weight=2.0)
    steering = Steering(None, quality_db, lambda: 0)
    while progress.step < steps + progress.landing:
        sight.follow(progress, steps)
        progress.step += 1
        steering.turn(progress, steps)
    assert not missed(0, None, progress.psnr_db, quality_db)
    assert progress.landing <= LANDINGS * steps // TURNS


def test_a_miss_in_words() -> None:
    assert missed(960, 1000, 20.0, None) == missed(10**9, None, 30.1, 30.0) == missed(5, None, 30.0, None) == ""
    assert missed(1001, 1000, 30.0, None) == "more than the limit of 1,000 bytes"
    assert missed(940, 1000, 30.0, None) == "less than 95 % of the limit of 1,000 bytes"
    assert missed(940, None, 27.5, 30.0) == "2.5 dB under 30 dB"
    assert missed(940, None, 31.0, 30.0) == "1.0 dB over 30 dB"


def test_what_dearer_bits_cost_is_no_collapse() -> None:
    """Else the fit would go back, and give up in the end."""
    progress = Progress(step=80, rate_weight=2.0, loss=9.0, best_loss=5.0)
    Steering(1000, None, lambda: 5000).turn(progress, 100)
    assert progress.rate_weight > 2.0
    assert progress.best_loss == 9.0


def test_a_file_keeps_within_its_limit(video: Path, tmp_path: Path) -> None:
    clip = Clip.open(video)
    free = nerv360.encode(clip, tmp_path / "free", replace(CONFIG, epochs=20, rate_weight=1e-3, loss="l2"))
    config = replace(CONFIG, epochs=20, rate_weight=1e-3, loss="l2", bitrate=0.8 * free.bitrate)
    limited = nerv360.encode(clip, tmp_path / "limited", config)
    assert limited.limit == size_limit(config, clip)
    assert limited.size == (tmp_path / "limited").stat().st_size <= limited.limit < free.size


def test_a_limit_that_no_file_keeps(video: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a limit of 100 bytes: the smallest file of these"):
        clip = Clip.open(video)
        bitrate = 800.5 * float(clip.frame_rate) / clip.frames
        nerv360.encode(clip, tmp_path / "a", replace(CONFIG, rate_weight=1.0, bitrate=bitrate))
    assert not list(tmp_path.iterdir())


def test_targets_that_contradict_each_other() -> None:
    with pytest.raises(ArgumentError, match="give one of them"):
        replace(CONFIG, rate_weight=1.0, bitrate=1e5, quality_db=30.0)
    with pytest.raises(ArgumentError, match="rate_weight must not be 0"):
        replace(CONFIG, rate_weight=0.0, bitrate=1e5)
