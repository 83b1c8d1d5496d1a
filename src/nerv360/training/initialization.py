"""Initialisation of nerv360-grid: a pyramid of the clip itself, in the resolutions of the grids in space and time."""

from collections.abc import Iterable, Sequence

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

MIN_FRAMES = 16  # that static grids are the mean of, where there are so many
MAX_COLOUR = 0.99  # in [-1, 1]: tanh reaches 1 nowhere
COLOURS = torch.tensor(  # red, green, blue of a grid's first three channels: brightness and two differences
    [[1, 1 / 2, -1 / 3], [1, 0, 2 / 3], [1, -1 / 2, -1 / 3]]
)


@torch.no_grad()
def initialize_from_clip(network: NeRV360Grid, frames: Iterable[NDArray[np.uint8]], angles: Angles | None) -> None:
    """Have the network draw a pyramid of the frames [H, W, 3]: by `to_rgb` alone, from the first channels of the grids.

    The frames are read once, and once more for a motion field. Directions are the world's, not the camera's, where its
    angles are given. From zeros, a colour that few views see may never be learned: its weights and its values wait for
    each other.
    """
    grids = network.latents
    _fill_grids(grids, _targets(grids, frames, angles), [stride for stride, _ in network.to_rgb_layers()])
    for stride, layer in network.to_rgb_layers():
        channels = [each.channels for each in network.config.content_grids if each.stride == stride]
        columns = [functional.pad(COLOURS[:, :count], (0, max(0, count - 3))) for count in channels]
        layer.weight.copy_(torch.cat(columns, dim=1)[..., None, None])
    for index, latent in enumerate(grids.layout.latents):
        if latent.motion:
            values = grids.values(index)
            flow = flow_at_keys(
                frames, grids.layout.frames, angles, latent.key_interval, values.shape[2], values.shape[3]
            )
            values[:, :2].copy_(flow / (MOTION_UNIT * latent.stride * GRID_STEP))
    for parameter in network.head.parameters():
        nn.init.zeros_(parameter)


def _fill_grids(grids: LatentGrids, targets: Sequence[Tensor], strides: Sequence[int]) -> None:
    """Fill the content grids: each takes what those before it lack, of the mean or of the frame at its key.

    Static grids come first, from coarse to fine, then those of several keys. The finer a grid, the larger what it
    begins with: a little is not worth its bits, and to empty it would take many steps.
    """
    least = {stride: number * GRID_STEP for number, stride in enumerate(strides)}
    filled: list[tuple[LatentGrid, Tensor]] = []
    content = [index for index, latent in enumerate(grids.layout.latents) if not latent.motion]
    for index in sorted(content, key=lambda i: (len(targets[i]) > 1, -grids.layout.latents[i].stride)):
        latent, target = grids.layout.latents[index], targets[index]
        for key, picture in enumerate(target):
            at = FrameTime(key_frame_index(latent.key_interval, key, grids.layout.frames), grids.layout.frames)
            for other, values in filled:
                weights = interpolation_weights(other.key_interval, at)
                known = torch.stack([weight * values[k] for k, weight in weights]).sum(dim=0)
                enlarged = functional.interpolate(known[None], list(picture.shape[1:]), mode="bilinear")[0]
                picture[: len(known)] -= enlarged
        target = functional.hardshrink(target[:, : latent.channels], least[latent.stride])
        filled.append((latent, target))
        grids.values(index)[:, : target.shape[1]] = target / GRID_STEP


def _targets(grids: LatentGrids, frames: Iterable[NDArray[np.uint8]], angles: Angles | None) -> list[Tensor]:
    """What every grid would be alone [keys, 3, rows, columns]: the frames at its keys, or their mean."""
    targets = [torch.zeros(len(v), 3, *v.shape[2:]) for v in map(grids.values, range(len(grids.layout.latents)))]
    of_mean = range(0, grids.layout.frames, max(1, grids.layout.frames // MIN_FRAMES))
    from_rgb = torch.linalg.inv(COLOURS)
    for number, frame in enumerate(frames):
        wanted = [
            (pictures[key], 1 / len(of_mean) if latent.static else 1.0)
            for pictures, latent in zip(targets, grids.layout.latents, strict=True)
            for key in range(len(pictures))
            if (number in of_mean if latent.static else _is_key(latent, key, number, grids.layout.frames))
        ]
        if wanted:
            levels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1
            colours = torch.einsum("ij, bjhw -> bihw", from_rgb, levels.clamp(-MAX_COLOUR, MAX_COLOUR).atanh())
        for picture, weight in wanted:
            turn = None if angles is None else angles[number]
            picture += weight * to_world_panorama(colours, picture.shape[1], picture.shape[2], turn)[0]
    return targets


def _is_key(latent: LatentGrid, key: int, frame: int, frames: int) -> bool:
    return key_frame_index(latent.key_interval, key, frames) == frame
