"""Optical flow of a clip at the keys of the motion field."""

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nerv360.latents.grid import key_count, key_frame_index
from nerv360.video.camera_motion import Angles, to_world_panorama

__all__ = ["flow_at_keys"]

ROWS = 320  # of the pictures that are compared, at most
SEAM = 32  # columns that are repeated on both sides


def flow_at_keys(
    frames: Iterable[NDArray[np.uint8]], count: int, angles: Angles | None, period: int, rows: int, columns: int
) -> Tensor:
    """Flow [keys, 2, rows, columns] of `count` frames [H, W, 3], in panorama pixels per frame to the right and down.

    At a key, every `period` frames, it is the mean flow over the half interval before it and the one after it.
    """
    half = max(1, period // 2)
    asked = [key_frame_index(period, key, count) for key in range(key_count(period, count))]
    pairs = [[(at, at + step) for step in (-half, half) if 0 <= at + step < count] for at in asked]
    needed = {frame for each in pairs for pair in each for frame in pair}
    grey: dict[int, NDArray[np.uint8]] = {}
    found = torch.zeros(len(pairs), 2, rows, columns)
    flow, still = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), np.zeros(0, np.float32)
    for number, frame in enumerate(frames):
        if number in needed:
            grey[number] = _grey(frame, None if angles is None else angles[number])
        for key, each in enumerate(pairs):
            if each and max(max(pair) for pair in each) == number:
                moved = [flow.calc(grey[at], grey[other], still) / (other - at) for at, other in each]
                per_frame = torch.from_numpy(np.mean(moved, axis=0)[:, SEAM:-SEAM]).permute(2, 0, 1)
                scale = frame.shape[0] / len(grey[number])
                found[key] = scale * functional.interpolate(per_frame[None], (rows, columns), mode="area")[0]
        for old in [known for known in grey if known < number - period]:
            del grey[old]
    return found


def _grey(frame: NDArray[np.uint8], angles: NDArray[np.int32] | None) -> NDArray[np.uint8]:
    """A small grey panorama in world coordinates, padded across the seam on both sides."""
    picture = torch.from_numpy(frame).permute(2, 0, 1)[None].float().mean(dim=1, keepdim=True)
    height = min(ROWS, frame.shape[0])
    small = to_world_panorama(picture, height, 2 * height, angles)[0, 0]
    return np.pad(small.round().to(torch.uint8).numpy(), ((0, 0), (SEAM, SEAM)), mode="wrap")
