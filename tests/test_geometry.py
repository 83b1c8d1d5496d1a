"""The convention: 360Lib's vectors, the seam and the poles, round trips, gradients.

On white noise: on a smooth photograph, wrong half-pixel rules still reach 57 dB.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerv360.errors import ArgumentError
from nerv360.extract import extract_viewport
from nerv360.geometry.rays import perspective_rays, viewport_rays
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.sphere import lonlat_to_pixel, lonlat_to_ray, pixel_to_lonlat, ray_to_lonlat
from nerv360.geometry.viewport import Viewport, dynamic_viewports, linear_trajectory, read_trajectory

DATA = Path(__file__).parent / "data"
VECTORS = {"vp0_yaw0_pitch0": (0, 0), "vp2_yaw86_pitch33": (86, 33), "vp5_yaw-180_pitch0": (-180, 0)}
VECTORS |= {"vp7_yaw30_pitch89": (30, 89)}


def picture(name: str) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(DATA / name)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "yaw", "pitch"), [(name, *angles) for name, angles in VECTORS.items()])
def test_agrees_with_360lib_on_noise(name: str, yaw: float, pitch: float, dtype: torch.dtype) -> None:
    panorama = picture("erp_noise_768x384_Y.png")[None, None]
    view = Viewport(yaw, pitch, 0, 78.1, 49.1, 320, 180)
    difference = sample_sphere(panorama, viewport_rays(view, dtype=dtype))[0, 0].round() - picture(
        f"{name}_noise_bilinear_Y.png"
    )
    # 360Lib rounds positions to 1/100 sample: 53.8 dB
    assert 10 * math.log10(255**2 / difference.double().square().mean()) > 53.5
    assert difference.abs().max() <= 2


def test_pixels_and_directions_round_trip() -> None:
    y, x = torch.meshgrid(torch.arange(24.0) + 0.5, torch.arange(48.0) + 0.5, indexing="ij")
    x, y = x.double(), y.double()
    back = lonlat_to_pixel(*ray_to_lonlat(lonlat_to_ray(*pixel_to_lonlat(x, y, 48, 24))), 48, 24)
    torch.testing.assert_close(back, (x, y), atol=1e-12, rtol=0)


def test_centre_ray_and_roll() -> None:
    yaw, pitch = math.radians(50), math.radians(-20)
    ray = viewport_rays(Viewport(50, -20, 77, width=1, height=1), dtype=torch.float64)[0, 0, 0]
    expected = [math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)]
    torch.testing.assert_close(ray, torch.tensor(expected, dtype=torch.float64))
    rolled = viewport_rays(Viewport(0, 0, 30, 90, 90, 2, 2), dtype=torch.float64)[0]
    right = torch.nn.functional.normalize(rolled[0, 1] - rolled[0, 0], dim=0)
    turned = torch.tensor([math.cos(math.radians(30)), -math.sin(math.radians(30)), 0], dtype=torch.float64)
    torch.testing.assert_close(right, turned)


def test_field_of_view_spans_the_outer_edges() -> None:
    rays = viewport_rays(Viewport(hfov_deg=90, vfov_deg=60, width=100, height=50), dtype=torch.float64)[0]
    step = rays[25, 1, 0] / rays[25, 1, 2] - rays[25, 0, 0] / rays[25, 0, 2]
    assert rays[25, 0, 0] / rays[25, 0, 2] - step / 2 == pytest.approx(-1)
    step = rays[0, 50, 1] / rays[0, 50, 2] - rays[1, 50, 1] / rays[1, 50, 2]
    assert rays[0, 50, 1] / rays[0, 50, 2] + step / 2 == pytest.approx(math.tan(math.radians(30)))


def test_cells_reach_beyond_a_picture_that_they_do_not_divide() -> None:
    view = Viewport(hfov_deg=80, width=50, height=30)
    cells = viewport_rays(view, cell=24, dtype=torch.float64)
    assert cells.shape == (1, 2, 3, 3)
    fx, _ = view.focal
    assert cells[0, 0, 0, 0] / cells[0, 0, 0, 2] == pytest.approx((12 - 25) / fx)


@pytest.mark.parametrize(("width", "height"), [(64, 32), (63, 31), (48, 25)])
@pytest.mark.parametrize(
    "view", [Viewport(180, 0), Viewport(20, 90), Viewport(-70, -80, 40), Viewport(179, 35, 0, 150)]
)
def test_matches_a_scalar_implementation_at_seam_and_poles(width: int, height: int, view: Viewport) -> None:
    torch.manual_seed(0)
    panorama = torch.rand(1, 2, height, width, dtype=torch.float64)
    view = Viewport(view.yaw_deg, view.pitch_deg, view.roll_deg, view.hfov_deg, None, 12, 9)
    rays = viewport_rays(view, dtype=torch.float64)
    sampled = sample_sphere(panorama, rays)[0]

    def cell(row: int, column: int) -> torch.Tensor:
        turned = not 0 <= row < height
        row = -1 - row if row < 0 else 2 * height - 1 - row if row >= height else row
        if not turned:
            return panorama[0, :, row, column % width]
        ends = {(column + width // 2) % width, (column + -(-width // 2)) % width}
        return torch.stack([panorama[0, :, row, end] for end in ends]).mean(dim=0)

    for j in range(9):
        for i in range(12):
            lon, lat = ray_to_lonlat(rays[0, j, i])
            x, y = (v.item() - 0.5 for v in lonlat_to_pixel(lon, lat, width, height))
            column, row = math.floor(x), math.floor(y)
            a, b = x - column, y - row
            upper = (1 - a) * cell(row, column) + a * cell(row, column + 1)
            lower = (1 - a) * cell(row + 1, column) + a * cell(row + 1, column + 1)
            # 1e-9 at the poles, where a longitude is least certain
            torch.testing.assert_close(sampled[:, j, i], (1 - b) * upper + b * lower, atol=1e-7, rtol=0)


def test_batches_and_gradients() -> None:
    angles = [torch.tensor([10.0, 100.0], dtype=torch.float64, requires_grad=True) for _ in range(3)]
    lengths = [torch.tensor([9.0, 8.0], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    panorama = torch.rand(2, 1, 12, 24, dtype=torch.float64, requires_grad=True)

    def cut(*inputs: torch.Tensor) -> torch.Tensor:
        return sample_sphere(inputs[0], perspective_rays(*inputs[1:], 4, 3))

    assert cut(panorama, *angles, *lengths).shape == (2, 1, 3, 4)
    assert torch.autograd.gradcheck(cut, (panorama, *angles, *lengths))


def test_yaw_wraps() -> None:
    panorama = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    views = [Viewport(yaw, 30, 0, 90, None, 20, 20) for yaw in (-190, 170)]
    assert np.abs(np.subtract(*(extract_viewport(panorama, view).astype(int) for view in views))).max() <= 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("pitch_deg", 91), ("hfov_deg", 190), ("vfov_deg", 0), ("yaw_deg", math.nan), ("width", 0), ("height", 10**9)],
)
def test_impossible_viewports_are_named(field: str, value: float) -> None:
    with pytest.raises(ArgumentError, match=rf"viewport\.{field}="):
        Viewport(**{field: value})  # type: ignore[arg-type]


def test_extract_refuses_other_arrays() -> None:
    with pytest.raises(ArgumentError, match="uint8"):
        extract_viewport(np.zeros((4, 8)), Viewport())  # type: ignore[arg-type]


def test_trajectories(tmp_path: Path) -> None:
    path = linear_trajectory(Viewport(), 3, (170, -10), (190, 30))
    assert [(view.yaw_deg, view.pitch_deg) for view in path] == [(170, -10), (180, 10), (190, 30)]
    assert linear_trajectory(Viewport(), 1, (5, 6), (7, 8))[0].yaw_deg == 5
    for video, yaw in (("Landing2_6144x3072.yuv", -225), ("branCASTLE.mp4", -145), ("film.mp4", -116)):
        assert dynamic_viewports(Viewport(), 2, video)["VP1"][0].yaw_deg == yaw
    file = tmp_path / "path.csv"
    file.write_text("yaw_deg,pitch_deg,roll_deg\n1,2,3\n-4,5,6\n")
    assert [view.roll_deg for view in read_trajectory(file, Viewport())] == [3, 6]


@pytest.mark.parametrize("text", ["", "yaw_deg\n1\n", "yaw_deg,pitch_deg\n", "yaw_deg,pitch_deg\nnan,0\n"])
def test_bad_trajectories(tmp_path: Path, text: str) -> None:
    file = tmp_path / "path.csv"
    file.write_text(text)
    with pytest.raises(ArgumentError, match=r"path\.csv"):
        read_trajectory(file, Viewport())


@pytest.mark.parametrize(
    "view",
    [
        Viewport(0, 0, 0, 90, None, 64, 64),
        Viewport(30, -80, 20, 78.1, None, 192, 108),
        Viewport(hfov_deg=150, vfov_deg=20, width=40, height=40),
        Viewport(hfov_deg=1, width=300, height=900),
        Viewport(hfov_deg=170, width=33, height=33),
    ],
)
def test_the_share_of_the_sphere(view: Viewport) -> None:
    """Against the sum of the solid angles of small parts of the picture."""
    parts = 2000
    across, up = (
        (np.arange(parts) + 0.5 - parts / 2) * size / parts / focal
        for size, focal in zip((view.width, view.height), view.focal, strict=True)
    )
    area = view.width * view.height / math.prod(view.focal) / parts**2
    solid_angle = ((1 + across**2 + up[:, None] ** 2) ** -1.5).sum() * area
    assert view.share == pytest.approx(solid_angle / (4 * math.pi), rel=1e-4)  # worst: 2e-5, at 170 degrees


def test_six_faces_are_the_sphere() -> None:
    assert 6 * Viewport(77, 8, 9, 90, None, 50, 50).share == pytest.approx(1)
