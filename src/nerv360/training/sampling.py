"""What a step of the fit sees: a frame, and views of it spread evenly over the sphere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerv360.config import EncodingConfig, ViewSampling
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.transfer import to_device
from nerv360.video.camera_motion import Angles, camera_to_world, to_world_view
from nerv360.video.clip import Clip, Parts

__all__ = ["TrainingSample", "sample_view", "seen_parts", "training_sample"]

R2 = np.array([0.7548776662466927, 0.5698402909980532])  # 1 / g, 1 / g^2 with g^3 = g + 1


@dataclass(frozen=True)
class TrainingSample:
    """What one step sees."""

    panorama: Tensor  # [1, 3, H, W] uint8
    frame: int
    frames: int  # of the clip
    views: Sequence[Viewport]  # in the panorama
    world_views: Sequence[Viewport]  # the same on the network's sphere

    @property
    def at(self) -> FrameTime:
        """When it is."""
        return FrameTime(self.frame, self.frames)


def training_sample(
    frame: NDArray[np.uint8],  # [H, W, 3]
    index: int,  # of the frame
    frames: int,  # of the clip
    step: int,
    config: EncodingConfig,
    angles: Angles | None,  # of the camera
    device: torch.device,
    parts: Parts = None,  # of the frame, that are looked at
) -> TrainingSample:
    """Views of a frame for a step of the fit."""
    levels = torch.from_numpy(frame)
    if device.type != "cpu":
        levels = _copied(levels, parts or [(slice(None), slice(None))], device)
    panorama = levels.permute(2, 0, 1)[None]
    views = training_views(config, frame.shape[1], index, frames, step)
    if angles is None:
        return TrainingSample(panorama, index, frames, views, views)
    world_views = [to_world_view(view, camera_to_world(angles[index])) for view in views]
    return TrainingSample(panorama, index, frames, views, world_views)


def _copied(levels: Tensor, parts: Sequence[tuple[slice, slice]], device: torch.device) -> Tensor:
    """Parts of a frame on a device, whose work goes on meanwhile."""
    there = torch.empty_like(levels, device=device)
    for part in parts:
        there[part] = to_device(levels[part].contiguous(), device)
    return there


def training_views(config: EncodingConfig, panorama_width: int, frame: int, frames: int, step: int) -> list[Viewport]:
    """What a step looks at in a frame."""
    count = config.view_sampling.views
    first = step // frames * count
    return [sample_view(config, panorama_width, frame, first + number) for number in range(count)]


def seen_parts(network: DecoderNetwork, config: EncodingConfig, clip: Clip, frame: int, step: int) -> Parts:
    """The parts of a frame that a step looks at."""
    windows = network.panorama_windows(training_views(config, clip.width, frame, clip.frames, step))
    return None if windows is None else [part for window in windows for part in window.rectangles()]


def sample_view(config: EncodingConfig, panorama_width: int, frame: int, number: int) -> Viewport:
    """Training viewport of a frame, by number: its centre uniform on the sphere, or in angle.

    A frame's centres follow an additive recurrence (R2) from a random start: they cover the sphere evenly, not by
    chance.
    """
    width, height = config.training_view(panorama_width)
    random = np.random.default_rng((config.seed, frame, number))
    start = np.random.default_rng((config.seed, frame)).uniform(size=2)
    across, up = (start + number * R2) % 1
    return Viewport(
        yaw_deg=float(360 * across - 180),
        pitch_deg=_pitch(up, config.view_sampling),
        roll_deg=float(random.uniform(*config.view_sampling.roll_deg)),
        hfov_deg=float(random.uniform(*config.view_sampling.hfov_deg)),
        width=width,
        height=height,
    )


def _pitch(share: float, settings: ViewSampling) -> float:
    """Degrees of a uniform number in [0, 1). On the sphere its sine is uniform: poles are seen as their area is."""
    low, high = settings.pitch_deg
    if settings.centres == "angle":
        return float(low + (high - low) * share)
    bottom, top = np.sin(np.radians((low, high)))
    return float(np.degrees(np.arcsin(bottom + (top - bottom) * share)))
