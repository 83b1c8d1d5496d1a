"""What a clip looks like on the whole: where its grids begin."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nerv360.geometry.orientation import Angles, orientation
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat

__all__ = ["mean_panorama"]

FRAMES = 16  # at least, where there are so many


def mean_panorama(
    frames: Iterable[NDArray[np.uint8]], count: int, angles: Angles | None, rows: int, columns: int
) -> Tensor:
    """The mean [3, rows, columns], RGB in [0, 1], of some of `count` frames [H, W, 3]; in the directions of the world,
    not of the camera, where its angles are given."""
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    rays = lonlat_to_ray(*pixel_to_lonlat(x.double(), y.double(), columns, rows))
    seen = []
    for index, frame in enumerate(frames):
        if index % max(1, count // FRAMES) == 0:
            picture = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
            small = functional.interpolate(picture, (rows, columns), mode="area")
            camera = rays if angles is None else rays @ orientation(angles[index])
            seen.append(sample_sphere(small, camera[None])[0].float())
    return torch.stack(seen).mean(dim=0)
