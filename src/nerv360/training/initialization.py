"""Where the fitting of nerv360-grid begins: at the clip itself, in the resolutions of the grids in space and time."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nerv360.latents.grid import GRID_STEP, FrameTime, LatentGrid, interpolation_weights, key_frame_index
from nerv360.latents.latent_grids import LatentGrids
from nerv360.models.nerv360_grid import MOTION_UNIT, NeRV360Grid
from nerv360.video.camera_motion import Angles, to_world_panorama
from nerv360.video.optical_flow import flow_at_keys

__all__ = ["initialize_from_clip"]

LEAST_FRAMES = 16  # that still grids are the mean of, where there are so many
LARGEST = 0.99  # of a colour in [-1, 1]: tanh reaches 1 nowhere
COLOURS = torch.tensor(  # red, green, blue of a grid's first three channels: brightness and two differences
    [[1, 1 / 2, -1 / 3], [1, 0, 2 / 3], [1, -1 / 2, -1 / 3]]
)


@torch.no_grad()
def initialize_from_clip(model: NeRV360Grid, frames: Iterable[NDArray[np.uint8]], angles: Angles | None) -> None:
    """Have the network draw a pyramid of the frames [H, W, 3]: by `to_rgb` alone, from the first channels of the grids.

    The frames are gone through once, and once more for a grid of motion.

    Grids that hold for the whole clip come first, from coarse to fine, then those of several keys: each takes what
    those before it lack, of the mean or of the frame at its key. The finer a grid, the larger what it begins with: a
    little is not worth its bits, and to empty it would take many steps. Directions are the world's, not the camera's,
    where its angles are given.
    From zeros, a colour that few views see may never be learned: its weights and its values wait for each other.
    """
    grids = model.latents
    seen = _seen(grids, frames, angles)
    filled: list[tuple[LatentGrid, Tensor]] = []
    drawn = [index for index, latent in enumerate(grids.latents) if not latent.motion]
    least = {stride: number * GRID_STEP for number, (stride, _) in enumerate(model.to_rgb_layers())}
    for index in sorted(drawn, key=lambda i: (len(seen[i]) > 1, -grids.latents[i].stride)):
        latent, wanted = grids.latents[index], seen[index]
        for key, picture in enumerate(wanted):
            moment = FrameTime(key_frame_index(latent.key_interval, key, grids.frames), grids.frames)
            for other, values in filled:
                known = torch.stack(
                    [weight * values[k] for k, weight in interpolation_weights(other.key_interval, moment)]
                ).sum(dim=0)
                enlarged = functional.interpolate(known[None], list(picture.shape[1:]), mode="bilinear")[0]
                picture[: len(known)] -= enlarged
        wanted = functional.hardshrink(wanted[:, : latent.channels], least[latent.stride])
        filled.append((latent, wanted))
        grids.values(index)[:, : wanted.shape[1]] = wanted / GRID_STEP
    for stride, layer in model.to_rgb_layers():
        of_grids = [grids.latents[index].channels for index in drawn if grids.latents[index].stride == stride]
        columns = [functional.pad(COLOURS[:, :count], (0, max(0, count - 3))) for count in of_grids]
        layer.weight.copy_(torch.cat(columns, dim=1)[..., None, None])
    for index, latent in enumerate(grids.latents):
        if latent.motion:
            values = grids.values(index)
            per_frame = flow_at_keys(
                frames, grids.frames, angles, latent.key_interval, values.shape[2], values.shape[3]
            )
            values[:, :2].copy_(per_frame / (MOTION_UNIT * latent.stride * GRID_STEP))
    for parameter in model.head.parameters():
        nn.init.zeros_(parameter)


def _seen(grids: LatentGrids, frames: Iterable[NDArray[np.uint8]], angles: Angles | None) -> list[Tensor]:
    """Of every grid, what it would be alone [keys, 3, rows, columns]: the frames at its keys, or their mean."""
    seen = [torch.zeros(len(v), 3, *v.shape[2:]) for v in map(grids.values, range(len(grids.latents)))]
    of_mean = range(0, grids.frames, max(1, grids.frames // LEAST_FRAMES))
    from_rgb = torch.linalg.inv(COLOURS)
    for number, frame in enumerate(frames):
        wanted = [
            (pictures[key], 1.0 if latent.key_interval else 1 / len(of_mean))
            for pictures, latent in zip(seen, grids.latents, strict=True)
            for key in range(len(pictures))
            if (
                key_frame_index(latent.key_interval, key, grids.frames) == number
                if latent.key_interval
                else number in of_mean
            )
        ]
        if wanted:
            levels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1
            colours = torch.einsum("ij, bjhw -> bihw", from_rgb, levels.clamp(-LARGEST, LARGEST).atanh())
        for picture, weight in wanted:
            turn = None if angles is None else angles[number]
            picture += weight * to_world_panorama(colours, picture.shape[1], picture.shape[2], turn)[0]
    return seen
