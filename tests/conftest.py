"""A small clip and its file, encoded once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Commands

from nerv360.config import PRESETS, EncodingConfig
from nerv360.training import contexts
from nerv360.video.clip import Colour
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

torch.set_num_threads(1)
contexts.STEPS = 40  # of the last touch: right, if not quite so small
QUICK = replace(PRESETS["tiny"], decoder_size=106_000, encoder_channels=8, epochs=6, group_size=4)


@pytest.fixture(scope="session")
def quick() -> EncodingConfig:
    return QUICK


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    server = Commands(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write frames of the procedural clip to a video file."""

    def make(width: int = 160, height: int = 80, frames: int = 6, colour: Colour | None = None) -> Path:
        path = tmp_path_factory.mktemp("video") / "clip.mp4"
        pictures = (render_frame(i, width=2 * height, height=height, frames=64)[:, :width] for i in range(frames))
        pictures = (np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), mode="edge") for p in pictures)
        write_frames(path, pictures, Fraction(30000, 1001), colour or Colour(1, 1, 1, False))
        return path

    return make


@pytest.fixture(scope="session")
def video(make_video: Callable[..., Path]) -> Path:
    return make_video()


@pytest.fixture(scope="session")
def encoded(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from nerv360.api import encode

    output = tmp_path_factory.mktemp("encoded") / "clip.nerv360"
    encode(video, output, QUICK)
    return output


@pytest.fixture(scope="session")
def fitted_grids(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same clip by nerv360-grid."""
    from nerv360.api import encode

    output = tmp_path_factory.mktemp("fitted") / "clip.nerv360"
    encode(video, output, replace(PRESETS["fast"], epochs=6))
    return output
