"""Cut a perspective view out of a panorama: decode-then-crop needs it, and it is the reference for everything else."""

import numpy as np
import torch
from numpy.typing import NDArray

from nerv360.errors import ArgumentError
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.viewport import Viewport

__all__ = ["extract_viewport"]


def extract_viewport(panorama: NDArray[np.uint8], viewport: Viewport) -> NDArray[np.uint8]:
    """Equirectangular picture [H, W, 3] -> perspective picture [viewport.height, viewport.width, 3], bilinear.

    Raises ArgumentError where the panorama is not a uint8 array of that shape.
    """
    if panorama.dtype != np.uint8 or panorama.ndim != 3 or panorama.shape[2] != 3 or 0 in panorama.shape:
        raise ArgumentError(f"panorama: {panorama.dtype} {panorama.shape}: must be uint8 of shape [H, W, 3]")
    picture = torch.from_numpy(np.ascontiguousarray(panorama)).permute(2, 0, 1)[None]
    sampled = sample_sphere(picture, viewport_rays(viewport))[0].permute(1, 2, 0)
    return sampled.round().to(torch.uint8).contiguous().numpy()
