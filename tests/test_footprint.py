"""Where a view reads a grid: against its rays, one by one."""

import numpy as np
import pytest
import torch

from nerv360.geometry.footprint import Footprint
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sphere import lonlat_to_pixel, ray_to_lonlat
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window

ROWS, COLUMNS = 48, 96


def random_views(count: int) -> list[Viewport]:
    random = np.random.default_rng(1)
    return [
        Viewport(
            random.uniform(-400, 400),
            float(np.clip(random.uniform(-120, 120), -90, 90)),
            random.uniform(-180, 180),
            random.uniform(5, 150),
            None,
            int(random.integers(1, 200)),
            int(random.integers(1, 120)),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("stride", [1, 2, 24])
def test_samples_are_those_of_the_rays(stride: int) -> None:
    """On noise, and with windows that hold all that they read."""
    torch.manual_seed(0)
    cells = torch.rand(1, 3, ROWS, COLUMNS, dtype=torch.float64)
    everywhere = Window(ROWS, COLUMNS, -2, -2, ROWS + 4, COLUMNS + 4)
    for view in random_views(60):
        footprint = Footprint.of(view, stride, ROWS, COLUMNS, 24, cells)
        x, y = lonlat_to_pixel(*ray_to_lonlat(viewport_rays(view, stride, torch.float64, 24)), COLUMNS, ROWS)
        expected = everywhere.sample(everywhere.crop(cells), x, y)
        torch.testing.assert_close(footprint.sample(footprint.window.crop(cells)), expected, atol=1e-9, rtol=0)


def test_windows_are_not_larger_than_needed() -> None:
    """But near the poles: there all columns are read."""
    for view in random_views(60):
        footprint = Footprint.of(view, 1, ROWS, COLUMNS, 1, torch.zeros((), dtype=torch.float64))
        x, y = lonlat_to_pixel(*ray_to_lonlat(viewport_rays(view, 1, torch.float64)), COLUMNS, ROWS)
        least = Window.covering(x, y, ROWS, COLUMNS)
        assert footprint.window.rows <= least.rows + 2
        at_a_pole = footprint.window.top < 0 or footprint.window.top + footprint.window.rows > ROWS
        assert footprint.window.columns <= (COLUMNS + 3 if at_a_pole else least.columns + 2)


def test_single_precision_is_enough_for_8k() -> None:
    for view in (Viewport(179.9, 0, 0, 78.1), Viewport(20, 85, 30, 78.1), Viewport(-77, -40, 10, 110)):
        exact, single = (
            Footprint.of(view, 1, 4096, 8192, 24, torch.zeros((), dtype=t)) for t in (torch.float64, torch.float32)
        )
        assert exact.window == single.window
        _, latitude = ray_to_lonlat(viewport_rays(view, 1, torch.float64, 24))
        error = (exact.points - single.points).abs() * torch.tensor([exact.window.columns, exact.window.rows]) / 2
        assert error[..., 1].max() < 1e-3  # cells; the worst of these views was 3.4e-4
        assert (error[..., 0] * latitude.cos()).max() < 1e-3  # near the poles columns are dense; the worst was 2.9e-4
