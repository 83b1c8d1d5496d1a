"""Estimate the camera's rotation over a clip from its frames. On the sphere a rotation is exact: nothing leaves it.

Not in the paper. With O_t the camera-to-world rotation of frame t, a view of frame t is a view, rotated by O_t, of a
static world. Pairs of frames are aligned by Gauss-Newton steps on robust residuals, coarse to fine.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nerv360.geometry.rays import rotation
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat
from nerv360.geometry.viewport import Viewport

__all__ = ["ANGLE_STEP_DEG", "Angles", "camera_to_world", "estimate_rotations", "to_world_panorama", "to_world_view"]

ANGLE_STEP_DEG = 0.01
POINTS = 4000
HEIGHTS = (32, 64, 128, 256)  # of the pyramid
ITERATIONS = 4
SAME_SCENE = 3.0  # times the residual of neighbouring frames: above, the first frame shows something else by now
LEAST_GAIN = 0.1  # of the residual: below, the camera is taken to stand still

Angles = NDArray[np.signedinteger[Any]]  # [frames, 3] yaw, pitch, roll in steps of ANGLE_STEP_DEG


def camera_to_world(angles: Angles) -> Tensor:
    """Camera-to-world rotation [3, 3], float64, of yaw, pitch and roll [3] in steps of ANGLE_STEP_DEG."""
    yaw, pitch, roll = (torch.tensor([ANGLE_STEP_DEG * int(angle)], dtype=torch.float64) for angle in angles)
    return rotation(yaw, pitch, roll)[0]


def to_world_view(view: Viewport, camera: Tensor) -> Viewport:
    """Transform a view from the coordinates of a camera [3, 3] to those of the world."""
    angles = (view.yaw_deg, view.pitch_deg, view.roll_deg)
    own = rotation(*(torch.tensor([angle], dtype=torch.float64) for angle in angles))[0]
    yaw, pitch, roll = _angles(camera @ own)
    return Viewport(yaw, pitch, roll, view.hfov_deg, view.vfov_deg, view.width, view.height)


def to_world_panorama(picture: Tensor, rows: int, columns: int, angles: NDArray[np.int32] | None) -> Tensor:
    """Resize a panorama [1, C, H, W] to [1, C, rows, columns]; with the camera's angles, in world coordinates too."""
    small = functional.interpolate(picture, (rows, columns), mode="area")
    if angles is None:
        return small
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    rays = lonlat_to_ray(*pixel_to_lonlat(x.double(), y.double(), columns, rows)) @ camera_to_world(angles)
    return sample_sphere(small, rays[None]).float()


def estimate_rotations(frames: Iterable[NDArray[np.uint8]]) -> Angles | None:
    """Estimate the rotation of every frame [H, W, 3] relative to the first; None for a static camera."""
    points = _even_points(POINTS)
    reference: list[Tensor] = []
    previous: list[Tensor] = []
    camera = torch.eye(3, dtype=torch.float64)
    found: list[list[int]] = []
    still = compensated = 0.0
    for frame in frames:
        pyramid = _pyramid(frame)
        reference = reference or pyramid
        if previous:
            relative = _align(previous, pyramid, points, torch.eye(3, dtype=torch.float64), HEIGHTS)
            camera = camera @ relative
            direct = _align(reference, pyramid, points, camera, HEIGHTS[-2:])
            to_reference = _residual(reference, pyramid, points, direct)
            same_scene = to_reference < SAME_SCENE * _residual(previous, pyramid, points, relative)
            if same_scene and to_reference < _residual(reference, pyramid, points, camera):
                camera = direct  # no drift
        steps = [round(angle / ANGLE_STEP_DEG) for angle in _angles(camera)]
        found.append(steps)
        still += _residual(reference, pyramid, points, torch.eye(3, dtype=torch.float64))
        compensated += _residual(reference, pyramid, points, camera_to_world(np.array(steps, dtype=np.int32)))
        previous = pyramid
    if compensated >= (1 - LEAST_GAIN) * still:
        return None
    return np.array(found, dtype=np.int32)


def _angles(camera: Tensor) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a rotation [3, 3]: inverse of `rotation`."""
    forward = camera[:, 2]
    yaw = torch.rad2deg(torch.atan2(forward[0], forward[2]))
    pitch = torch.rad2deg(torch.atan2(forward[1], torch.hypot(forward[0], forward[2])))
    rest = rotation(yaw[None], pitch[None], torch.zeros_like(yaw[None]))[0].T @ camera
    roll = torch.rad2deg(torch.atan2(rest[0, 1], rest[0, 0]))
    return float(yaw), float(pitch), float(roll)


def _pyramid(frame: NDArray[np.uint8]) -> list[Tensor]:
    """Grey pictures [1, 1, h, 2 h], from coarse to fine."""
    grey = torch.from_numpy(frame).float().mean(dim=-1)[None, None]
    return [functional.interpolate(grey, (height, 2 * height), mode="area") for height in HEIGHTS]


def _align(
    first: list[Tensor], second: list[Tensor], points: Tensor, start: Tensor, heights: tuple[int, ...]
) -> Tensor:
    """The rotation Q [3, 3] with second(c) = first(Q c), from a start near it."""
    rotated = start
    for one, other, height in zip(first, second, HEIGHTS, strict=True):
        if height not in heights:
            continue
        target, step = _sample_along(other, points), np.pi / height / 2
        for _ in range(ITERATIONS):
            residual = _sample_along(one, points @ rotated.T) - target
            slopes = [
                (
                    _sample_along(one, points @ (rotated @ _axis_rotation(axis, step)).T)
                    - _sample_along(one, points @ (rotated @ _axis_rotation(axis, -step)).T)
                )
                / (2 * step)
                for axis in range(3)
            ]
            jacobian = torch.stack(slopes, dim=1)
            weight = 1 / (1 + (residual / (1.4826 * residual.abs().median() + 1)).square())
            normal = jacobian.T @ (weight[:, None] * jacobian) + 1e-6 * torch.eye(3, dtype=torch.float64)
            change = -torch.linalg.solve(normal, jacobian.T @ (weight * residual))
            length = change.norm()
            change = change * torch.clamp(2 * step / (length + 1e-12), max=1.0)
            for axis in range(3):
                rotated = rotated @ _axis_rotation(axis, float(change[axis]))
    return rotated


def _residual(first: list[Tensor], second: list[Tensor], points: Tensor, camera: Tensor) -> float:
    """Mean absolute difference at the finest level."""
    return float((_sample_along(first[-1], points @ camera.T) - _sample_along(second[-1], points)).abs().mean())


def _sample_along(picture: Tensor, rays: Tensor) -> Tensor:
    """Samples [n] of a picture along rays [n, 3]."""
    return sample_sphere(picture, rays[None, None])[0, 0, 0]


def _axis_rotation(axis: int, angle: float) -> Tensor:
    """The rotation [3, 3] about an axis, by radians."""
    generator = torch.zeros(3, 3, dtype=torch.float64)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    generator[second, first], generator[first, second] = angle, -angle
    return torch.matrix_exp(generator)


def _even_points(count: int) -> Tensor:
    """Directions [count, 3] spread evenly over the sphere: a Fibonacci lattice."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    height, turn = 1 - 2 * index / count, index * (np.pi * (1 + 5**0.5))
    radius = (1 - height.square()).sqrt()
    return torch.stack((radius * turn.sin(), height, radius * turn.cos()), dim=1)
