"""Cut a perspective view out of a panorama: decode-then-crop needs it, and it is the reference for everything else."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nerv360.errors import ArgumentError
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sampling import sample_sphere, to_picture
from nerv360.geometry.viewport import Viewport

__all__ = ["extract_viewport", "extract_viewports"]


def extract_viewport(panorama: NDArray[np.uint8], viewport: Viewport) -> NDArray[np.uint8]:
    """Equirectangular picture [H, W, 3] -> perspective picture [viewport.height, viewport.width, 3], bilinear.

    Raises ArgumentError where the panorama is not a uint8 array of that shape.
    """
    return extract_viewports([panorama], viewport)[0]


def extract_viewports(panoramas: Sequence[NDArray[np.uint8]], viewport: Viewport) -> list[NDArray[np.uint8]]:
    """The same view of several panoramas."""
    rays = viewport_rays(viewport)
    return [to_picture(sample_sphere(_planes_of(panorama), rays)[0]) for panorama in panoramas]


def _planes_of(panorama: NDArray[np.uint8]) -> torch.Tensor:
    if panorama.dtype != np.uint8 or panorama.ndim != 3 or panorama.shape[2] != 3 or 0 in panorama.shape:
        raise ArgumentError(f"panorama: {panorama.dtype} {panorama.shape}: must be uint8 of shape [H, W, 3]")
    return torch.from_numpy(np.ascontiguousarray(panorama)).permute(2, 0, 1)[None]
