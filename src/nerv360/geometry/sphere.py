"""The one convention between pixels, longitude and latitude, and directions (docs/conventions.md).

Angles in this module are radians. Axes: x right, y up, z forward.
"""

import math

import torch
from torch import Tensor

__all__ = ["lonlat_to_pixel", "lonlat_to_ray", "pixel_to_lonlat", "ray_to_lonlat"]


def pixel_to_lonlat(x: Tensor, y: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Pixel-edge coordinates of an ERP picture -> longitude, latitude. A pixel's centre is k + 0.5."""
    return (x / width - 0.5) * (2 * math.pi), (0.5 - y / height) * math.pi


def lonlat_to_pixel(lon: Tensor, lat: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Inverse of `pixel_to_lonlat`."""
    return (lon / (2 * math.pi) + 0.5) * width, (0.5 - lat / math.pi) * height


def lonlat_to_ray(lon: Tensor, lat: Tensor) -> Tensor:
    """Longitude, latitude [...] -> unit vectors [..., 3]."""
    return torch.stack((lon.sin() * lat.cos(), lat.sin(), lon.cos() * lat.cos()), dim=-1)


def ray_to_lonlat(ray: Tensor) -> tuple[Tensor, Tensor]:
    """Directions [..., 3] of any length -> longitude in [-pi, pi], latitude in [-pi/2, pi/2].

    Latitude is an arctangent, not an arcsine: it stays accurate and differentiable towards the poles.
    """
    x, y, z = ray.unbind(-1)
    return torch.atan2(x, z), torch.atan2(y, torch.hypot(x, z))
