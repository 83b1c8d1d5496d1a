"""Targets of size and quality: the weight of the rate is found while a network is fitted."""

import math
from pathlib import Path

import pytest
from test_grid import CONFIG

import nerv360
from nerv360.errors import ArgumentError
from nerv360.training.checkpoint import Progress
from nerv360.training.rate_control import MAX_WEIGHT, RateController
from nerv360.video.clip import Clip


class Film:
    """A fit whose size and quality follow the weight of the rate, late."""

    def __init__(self, scale: float, at_two_db: float = 29.5) -> None:
        self.scale, self.bytes = scale, 2 * scale
        self.at_two_db, self.db = at_two_db, at_two_db - 6

    def size(self) -> int:
        return round(self.bytes)

    def fit(self, controller: RateController, steps: int) -> Progress:
        progress = Progress(rate_weight=2.0)
        while (step := progress.step - progress.rewound_steps) < steps:
            again = bool(progress.rewound_steps)
            noise = max(0.0, 0.75 - step / steps)
            wanted = (
                self.scale * progress.rate_weight**-0.45 * (1 + (1.5 if again else 3) * noise) * (0.93 if again else 1)
            )
            wanted_db = self.at_two_db - 5 * math.log10(progress.rate_weight / 2) - 5 * noise + 0.3 * again
            pace = 25 * (1.02 - step / steps) / steps
            self.bytes *= (wanted / self.bytes) ** pace
            self.db += (wanted_db - self.db) * pace
            progress.psnr_db = self.db
            progress.step += 1
            controller.update(progress, steps)
        return progress


@pytest.mark.parametrize("limit", [13_000, 40_000, 90_000])
@pytest.mark.parametrize("steps", [500, 1600])
def test_a_size_is_met(limit: int, steps: int) -> None:
    film = Film(40_000)
    controller = RateController(limit, None, film.size)
    progress = film.fit(controller, steps)
    assert 0.95 * limit <= film.size() <= limit
    assert not controller.describe_miss(film.size(), 0)
    assert progress.step <= 1.8 * steps


def test_a_size_out_of_reach_ends_the_fit() -> None:
    film = Film(40_000)
    controller = RateController(100, None, film.size)
    progress = film.fit(controller, 500)
    assert progress.step <= 1.8 * 500
    assert progress.rate_weight == MAX_WEIGHT
    assert controller.describe_miss(film.size(), 0) == "more than the limit of 100 bytes"


@pytest.mark.parametrize("quality_db", [26.0, 30.0, 33.0])
@pytest.mark.parametrize("steps", [500, 1600])
def test_a_quality_is_met(quality_db: float, steps: int) -> None:
    film = Film(40_000)
    controller = RateController(None, quality_db, lambda: 0)
    progress = film.fit(controller, steps)
    assert abs(progress.psnr_db - quality_db) <= 0.25
    assert not controller.describe_miss(0, progress.psnr_db)


def test_a_fit_without_a_target_is_left_alone() -> None:
    film = Film(40_000)
    progress = film.fit(RateController(None, None, film.size), 500)
    assert progress.rate_weight == 2.0
    assert progress.step == 500


def test_a_miss_in_words() -> None:
    size, quality = RateController(1000, None, lambda: 0), RateController(None, 30.0, lambda: 0)
    assert (
        size.describe_miss(960, 20.0)
        == quality.describe_miss(10**9, 30.1)
        == RateController(None, None, lambda: 0).describe_miss(5, 9.0)
        == ""
    )
    assert size.describe_miss(1001, 30.0) == "more than the limit of 1,000 bytes"
    assert size.describe_miss(940, 30.0) == "less than 95 % of the limit of 1,000 bytes"
    assert quality.describe_miss(940, 27.5) == "2.5 dB under 30 dB"
    assert quality.describe_miss(940, 31.0) == "1.0 dB over 30 dB"


def test_what_dearer_bits_cost_is_no_collapse() -> None:
    """Else the fit would go back, and give up in the end."""
    progress = Progress(step=60, rate_weight=2.0, loss=9.0, best_loss=5.0)
    RateController(1000, None, lambda: 5000).update(progress, 100)
    assert progress.rate_weight > 2.0
    assert progress.best_loss == 9.0


@pytest.mark.slow
def test_a_file_keeps_within_its_limit(video: Path, tmp_path: Path) -> None:
    clip = Clip.open(video)
    settings = CONFIG.replace(epochs=28, rate_weight=1e-3, loss="l2")
    free = nerv360.encode(clip, tmp_path / "free", settings)
    config = settings.replace(bitrate=0.8 * free.bitrate)
    limited = nerv360.encode(clip, tmp_path / "limited", config)
    assert limited.limit == config.rate_target.max_bytes(clip.frames, float(clip.frame_rate))
    assert limited.size == (tmp_path / "limited").stat().st_size <= limited.limit < free.size


def test_a_limit_that_no_file_keeps(video: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a limit of 100 bytes: the smallest file of these"):
        clip = Clip.open(video)
        bitrate = 800.5 * float(clip.frame_rate) / clip.frames
        nerv360.encode(clip, tmp_path / "a", CONFIG.replace(rate_weight=1.0, bitrate=bitrate))
    assert not list(tmp_path.iterdir())


def test_targets_that_contradict_each_other() -> None:
    with pytest.raises(ArgumentError, match="give one of them"):
        CONFIG.replace(rate_weight=1.0, bitrate=1e5, quality_db=30.0)
    with pytest.raises(ArgumentError, match="rate_weight must not be 0"):
        CONFIG.replace(rate_weight=0.0, bitrate=1e5)
