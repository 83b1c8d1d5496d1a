"""The camera's rotation, found from pictures."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nerv360.geometry.rays import rotation, viewport_rays
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat
from nerv360.geometry.viewport import Viewport
from nerv360.video.camera_motion import ANGLE_STEP_DEG, camera_to_world, estimate_rotations, to_world_view
from nerv360.video.synthetic import render_frame

WIDTH, HEIGHT = 384, 192


def seen(panorama: NDArray[np.uint8], angles: tuple[float, float, float]) -> NDArray[np.uint8]:
    """The panorama that a camera with these angles takes of a world."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = lonlat_to_ray(*pixel_to_lonlat(torch.from_numpy(x), torch.from_numpy(y), WIDTH, HEIGHT))
    camera = rotation(*(torch.tensor([angle], dtype=torch.float64) for angle in angles))[0]
    picture = sample_sphere(torch.from_numpy(panorama).permute(2, 0, 1)[None].double(), (rays @ camera.T)[None])
    return picture[0].permute(1, 2, 0).round().to(torch.uint8).numpy()


def test_a_pan_is_found() -> None:
    world = render_frame(0, width=WIDTH, height=HEIGHT, frames=64)
    path = [(2.5 * k, 3 * math.sin(k / 2), -2 * math.sin(k / 3)) for k in range(6)]
    found = estimate_rotations(seen(world, angles) for angles in path)
    assert found is not None
    assert found.shape == (6, 3)
    assert np.abs(ANGLE_STEP_DEG * found - path).max() < 0.1  # a tenth of a pixel; worst was 0.03


def test_a_cut_does_not_derail_it() -> None:
    first, second = (render_frame(index, width=WIDTH, height=HEIGHT, frames=64) for index in (0, 32))
    second = np.ascontiguousarray(second[::-1, :, ::-1])
    path = [(3.0 * k, 0.0, 0.0) for k in range(8)]
    found = estimate_rotations(seen(first if k < 4 else second, angles) for k, angles in enumerate(path))
    assert found is not None
    steps = ANGLE_STEP_DEG * np.diff(found, axis=0)[[0, 1, 2, 4, 5, 6]]
    assert np.abs(steps - (3, 0, 0)).max() < 0.6


def test_a_still_camera_is_left_alone() -> None:
    def clip() -> Iterator[NDArray[np.uint8]]:
        world = render_frame(0, width=WIDTH, height=HEIGHT, frames=64)
        for k in range(4):
            frame = world.copy()
            frame[80:110, 40 + 20 * k : 80 + 20 * k] = 255  # something moves through it
            yield frame

    assert estimate_rotations(clip()) is None
    assert estimate_rotations(np.zeros((64, 128, 3), np.uint8) for _ in range(3)) is None


@pytest.mark.parametrize("angles", [(0, 0, 0), (12345, -4000, 700), (-17999, 8999, 18000), (30, -9000, 0)])
def test_a_turned_view_has_turned_rays(angles: tuple[int, int, int]) -> None:
    camera = camera_to_world(np.array(angles, dtype=np.int32))
    view = Viewport(-70, 33, 12, 90, 50, 16, 12)
    expected = viewport_rays(view, dtype=torch.float64) @ camera.T
    torch.testing.assert_close(
        viewport_rays(to_world_view(view, camera), dtype=torch.float64), expected, atol=1e-12, rtol=0
    )
