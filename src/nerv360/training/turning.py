"""Panoramas of a camera that turns, in the directions of the world."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nerv360.geometry.orientation import orientation
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat

__all__ = ["turned_panorama"]


def turned_panorama(picture: Tensor, rows: int, columns: int, angles: NDArray[np.int32] | None) -> Tensor:
    """A panorama [1, C, H, W] -> smaller [1, C, rows, columns]; turned, where its camera's angles are given."""
    small = functional.interpolate(picture, (rows, columns), mode="area")
    if angles is None:
        return small
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    rays = lonlat_to_ray(*pixel_to_lonlat(x.double(), y.double(), columns, rows)) @ orientation(angles)
    return sample_sphere(small, rays[None]).float()
