"""Where the fitting of nerv360-grid begins: at the clip itself."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from test_camera_motion import HEIGHT, WIDTH, seen

from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime, LatentGrid
from nerv360.models.build import build
from nerv360.models.nerv360_grid import NeRV360Grid
from nerv360.models.network_config import NetworkConfig
from nerv360.quality import psnr
from nerv360.training.initialization import initialize_from_clip
from nerv360.video.camera_motion import ANGLE_STEP_DEG, Angles, camera_to_world, to_world_view
from nerv360.video.synthetic import render_frame

GRIDS = (LatentGrid(6, 3, 2), LatentGrid(2, 3, 4), LatentGrid(2, 4, 0), LatentGrid(1, 3, 0))
CONFIG = NetworkConfig(WIDTH, HEIGHT, (5, 4, 3), "nerv360-grid", decoder_strides=(3, 2), kernels=(1, 3), grids=GRIDS)
VIEW = Viewport(20, 10, 0, 78.1, None, 96, 72)


def quality(frames: Sequence[NDArray[np.uint8]], index: int, angles: Angles | None = None) -> float:
    """PSNR of a view of a frame before the first step, grids rounded."""
    torch.manual_seed(0)
    model = build(CONFIG, len(frames))
    assert isinstance(model, NeRV360Grid)
    initialize_from_clip(model, frames, angles)
    assert not model.head.weight.any()
    world = VIEW if angles is None else to_world_view(VIEW, camera_to_world(angles[index]))
    latents, _ = model.training_inputs(torch.zeros(()), index, [world], None)
    decoded = model.decode(latents, FrameTime(index, len(frames)), world)[0].permute(1, 2, 0)
    return psnr((255 * decoded.detach()).round().numpy(), extract_viewport(frames[index], VIEW))


def test_fitting_begins_at_the_clip() -> None:
    """But for rounding and small detail; what moves, at its keys and in their resolution."""
    frames = [render_frame(index, width=WIDTH, height=HEIGHT, frames=64) for index in range(6)]
    assert quality(frames, 1) > 28.5  # a key of all grids: 29.1
    assert quality(frames, 0) > 26  # before all keys: 26.9
    assert quality(frames[:1], 0) > 30  # all grids hold it: 30.4


def test_the_beginning_of_a_pan_is_the_world() -> None:
    world = render_frame(0, width=WIDTH, height=HEIGHT, frames=64)
    path = [(7.5 * k, 4.0 * k, -3.0 * k) for k in range(5)]
    angles = np.rint(np.array(path) / ANGLE_STEP_DEG).astype(np.int32)
    frames = [seen(world, (float(yaw), float(pitch), float(roll))) for yaw, pitch, roll in path]
    assert quality(frames, 4, angles) > 30.5  # measured: 31.1
    assert quality(frames, 4) < 18  # 16.9
