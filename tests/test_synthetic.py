"""The procedural clip: deterministic, seamless, the same at any size, and moving as its convention says."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nerv360.video.synthetic import ball_directions, render_frame

Picture = NDArray[np.float64]


def frame(index: int, width: int = 256, frames: int = 100) -> Picture:
    """A frame [width / 2, width, 3] as numbers in 0..255."""
    return render_frame(index, width=width, height=width // 2, frames=frames).astype(np.float64)


def difference(first: Picture, second: Picture) -> float:
    """Mean absolute difference."""
    return float(np.abs(first - second).mean())


@pytest.fixture(scope="module")
def clip() -> Picture:
    """Frames [10, 128, 256, 3] spread over the clip."""
    return np.stack([frame(index) for index in range(5, 100, 10)])


@pytest.mark.parametrize(("width", "height"), [(64, 32), (624, 312)])
def test_shape_type_and_determinism(width: int, height: int) -> None:
    first, second = (render_frame(7, width=width, height=height, frames=30) for _ in range(2))
    assert first.shape == (height, width, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert first.std() > 30


def test_time_is_index_over_frames() -> None:
    assert np.array_equal(frame(3, width=64, frames=10), frame(12, width=64, frames=40))


def test_seam_is_as_smooth_as_other_columns(clip: Picture) -> None:
    neighbours = difference(clip[:, :, 1:], clip[:, :, :-1])
    assert difference(clip[:, :, 0], clip[:, :, -1]) < 1.5 * neighbours


@pytest.mark.parametrize("row", [0, -1])
def test_rows_at_the_poles_agree_with_their_opposite_side(clip: Picture, row: int) -> None:
    neighbours = difference(clip[:, 1:], clip[:, :-1])
    assert difference(clip[:, row], np.roll(clip[:, row], 128, axis=1)) < 1.5 * neighbours


@pytest.mark.parametrize("index", [0, 33, 66])
def test_scene_does_not_depend_on_size(index: int) -> None:
    fine = frame(index, width=512).reshape(128, 2, 256, 2, 3).mean((1, 3))
    error = np.square(frame(index) - fine).mean()
    assert 10 * np.log10(255**2 / error) > 33  # measured 34.2 to 35.0 dB: edges are a pixel wide at any size


def test_frames_move_a_little_each() -> None:
    clip = np.stack([frame(index, width=128, frames=200) for index in range(40)])
    steps = np.abs(np.diff(clip, axis=0)).mean((1, 2, 3))
    assert steps.min() > 1
    assert steps.max() < 8  # measured 3.0 to 5.3


def test_balls_cross_the_seam_and_the_poles() -> None:
    x, y, z = np.moveaxis(np.stack([ball_directions(time) for time in np.arange(0, 1, 1 / 400)]), 2, 0)
    assert np.allclose(x**2 + y**2 + z**2, 1, atol=1e-5)
    seam = ((x[1:] * x[:-1] < 0) & (z[1:] < 0) & (abs(y[1:]) < 0.9)).any(axis=0)
    zenith, nadir = y.max(axis=0) > 0.999, y.min(axis=0) < -0.999  # within 2.6 degrees; every ball is wider
    assert seam.tolist() == [False, True, False, False, True]
    assert zenith.tolist() == [True, False, True, False, False]
    assert nadir.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("index", range(0, 100, 10))
def test_the_yellow_ball_is_where_its_direction_says(index: int) -> None:
    x, y, z = ball_directions(index / 100)[1]
    column = int((np.arctan2(x, z) / (2 * np.pi) + 0.5) * 512)
    row = int((0.5 - np.arcsin(y) / np.pi) * 256)
    patch = np.roll(frame(index, width=512), 256 - column, axis=1)[row - 8 : row + 8, 248:264]
    assert (patch[..., 0] - patch[..., 2]).max() > 115  # yellow: no ground or sky is as far from blue
