"""Where the fitting of nerv360-grid begins: at the clip itself, in the resolutions of the grids in space and time."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nerv360.bitstream.layout import GRID_STEP, Latent, keys_at
from nerv360.geometry.orientation import Angles, orientation
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat
from nerv360.layers.grids import LatentGrids
from nerv360.models.nerv360_grid import NeRV360Grid

__all__ = ["begin"]

LEAST_FRAMES = 16  # that still grids are the mean of, where there are so many
LARGEST = 0.99  # of a colour in [-1, 1]: tanh reaches 1 nowhere
COLOURS = torch.tensor(  # red, green, blue of a grid's first three channels: brightness and two differences
    [[1, 1 / 2, -1 / 3], [1, 0, 2 / 3], [1, -1 / 2, -1 / 3]]
)


@torch.no_grad()
def begin(model: NeRV360Grid, frames: Iterable[NDArray[np.uint8]], angles: Angles | None) -> None:
    """Have the network draw a pyramid of the frames [H, W, 3]: by `to_rgb` alone, from the first channels of the grids.

    Still grids come first, from coarse to fine, then those with keys: each takes what those before it lack, of the
    mean or of the frame at its key. Directions are the world's, not the camera's, where its angles are given. From
    zeros, a colour that few views see may never be learned: its weights and its values wait for each other.
    """
    grids = model.encoder
    seen = _seen(grids, frames, angles)
    filled: list[tuple[Latent, Tensor]] = []
    for index in sorted(range(len(seen)), key=lambda i: (grids.latents[i].period > 0, -grids.latents[i].stride)):
        latent, wanted = grids.latents[index], seen[index]
        for key, picture in enumerate(wanted):
            frame, size = _frame(key, latent, grids.frames), list(picture.shape[1:])
            for other, values in filled:
                known = torch.stack([weight * values[k] for k, weight in keys_at(other.period, frame)]).sum(dim=0)
                picture[: len(known)] -= functional.interpolate(known[None], size, mode="bilinear")[0]
        wanted = wanted[:, : latent.channels]
        filled.append((latent, wanted))
        grids.values(index)[:, : wanted.shape[1]] = wanted / GRID_STEP
    for stride, layer in model.to_rgb_layers():
        of_grids = [grid.channels for grid in grids.latents if grid.stride == stride]
        columns = [functional.pad(COLOURS[:, :count], (0, max(0, count - 3))) for count in of_grids]
        layer.weight.copy_(torch.cat(columns, dim=1)[..., None, None])
    for parameter in model.head.parameters():
        nn.init.zeros_(parameter)


def _seen(grids: LatentGrids, frames: Iterable[NDArray[np.uint8]], angles: Angles | None) -> list[Tensor]:
    """Of every grid, what it would be alone [keys, 3, rows, columns]: the frames at its keys, or their mean."""
    seen = [torch.zeros(len(v), 3, *v.shape[2:]) for v in map(grids.values, range(len(grids.latents)))]
    of_mean = range(0, grids.frames, max(1, grids.frames // LEAST_FRAMES))
    from_rgb = torch.linalg.inv(COLOURS)
    for number, frame in enumerate(frames):
        wanted = [
            (pictures[key], 1.0 if latent.period else 1 / len(of_mean))
            for pictures, latent in zip(seen, grids.latents, strict=True)
            for key in range(len(pictures))
            if (_frame(key, latent, grids.frames) == number if latent.period else number in of_mean)
        ]
        if wanted:
            levels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1
            colours = torch.einsum("ij, bjhw -> bihw", from_rgb, levels.clamp(-LARGEST, LARGEST).atanh())
        for picture, weight in wanted:
            camera = None if angles is None else orientation(angles[number])
            picture += weight * _turned(colours, picture.shape[1], picture.shape[2], camera)
    return seen


def _frame(key: int, latent: Latent, frames: int) -> int:
    """The frame at a key; the last one where the key lies behind it."""
    return min(key * latent.period, frames - 1)


def _turned(picture: Tensor, rows: int, columns: int, camera: Tensor | None) -> Tensor:
    """A panorama [1, 3, H, W] of a turned camera -> in the directions of the world [3, rows, columns]."""
    small = functional.interpolate(picture, (rows, columns), mode="area")
    if camera is None:
        return small[0]
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    rays = lonlat_to_ray(*pixel_to_lonlat(x.double(), y.double(), columns, rows)) @ camera
    return sample_sphere(small, rays[None])[0].float()
