"""The temporal filter of frames that predict others."""

import gc
import weakref

import numpy as np
import pytest
from numpy.typing import NDArray

from nerv360.motion.encoder import GroupEncoder, Tuning, steps_of
from nerv360.motion.flow import Flow
from nerv360.motion.temporal_filter import TemporalFilter
from nerv360.video.synthetic import render_frame

STEP = 30.0


def filtered(frames: NDArray[np.uint8], frame: int, strength: float = 1.0) -> NDArray[np.uint8]:
    return TemporalFilter(frames, Flow(frames)).filtered(frame, STEP, strength)


def error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.square(one.astype(float) - other).mean())


def moving_scene() -> NDArray[np.uint8]:
    still = render_frame(0, width=192, height=96, frames=64)
    return np.stack([np.roll(still, 3 * index, axis=1) for index in range(5)])


def test_noise_goes_though_content_moves() -> None:
    scene = moving_scene()
    noise = np.random.default_rng(0).normal(0, 5, scene.shape)
    noisy = (scene + noise).round().clip(0, 255).astype(np.uint8)
    before, usual, stronger = (
        error(each, scene[2]) for each in (noisy[2], filtered(noisy, 2), filtered(noisy, 2, 1.5))
    )
    assert stronger < usual < 0.75 * before


def test_a_frame_unlike_its_neighbours_stays_as_it_is() -> None:
    frames = np.stack([np.full((64, 128, 3), grey, np.uint8) for grey in (40, 200, 90)])
    assert np.array_equal(filtered(frames, 1, 2.0), frames[1])


def test_a_frame_alone_stays_as_it_is() -> None:
    frames = moving_scene()[:1]
    assert np.array_equal(filtered(frames, 0, 2.0), frames[0])


def test_a_frame_larger_than_flow_is_sought_at_is_moved_by_its_own_pixels() -> None:
    still = np.random.default_rng(1).integers(0, 256, (64, 128, 3), np.uint8)
    large = np.kron(still, np.ones((10, 10, 1), np.uint8))  # 1280 columns
    frames = np.stack([np.roll(large, 20 * index, axis=1) for index in range(3)])
    flow = Flow(frames).dense(1, 2)
    assert flow.shape == (640, 1280, 2)
    assert abs(float(np.median(flow[..., 0])) - 20) < 1


def test_what_a_pass_needed_is_freed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage in cycles is collected by number, not by size: passes over a clip would pile up."""
    flows: list[weakref.ref[Flow]] = []
    monkeypatch.setattr(
        "nerv360.motion.encoder.Flow", lambda *given: (flow := Flow(*given), flows.append(weakref.ref(flow)))[0]
    )
    gc.disable()
    try:
        encoder = GroupEncoder(moving_scene(), {})
        assert len(list(encoder.encode(Tuning(), steps_of(STEP, Tuning(), 5)))) == 5
        assert flows[0]() is not None
        del encoder
        assert flows[0]() is None
    finally:
        gc.enable()
