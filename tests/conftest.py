"""A small clip and its file, encoded once, by whichever process of pytest needs it first."""

import fcntl
import os

os.environ["OMP_NUM_THREADS"] = "1"  # of every process of every test: several run side by side

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import Commands

from nerv360.config import EncodingConfig, preset_for
from nerv360.types import BT709, Colour
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

torch.set_num_threads(1)
CONTEXT_STEPS = 40  # right, if the file is not quite so small
QUICK = preset_for("nerv360", "tiny").replace(
    decoder_size=106_000, encoder_channels=8, epochs=6, group_size=4, context_steps=CONTEXT_STEPS
)


@pytest.fixture(scope="session")
def quick() -> EncodingConfig:
    return QUICK


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A file of that name, made by the first process that asks for it."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str, make: Callable[[Path], object]) -> Path:
        with open(folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / name).exists():
                make(folder / name)
        return folder / name

    return made


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    server = Commands(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def commands_with_torch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """For commands that need PyTorch and what fits networks, which take seconds to import."""
    server = Commands(tmp_path_factory.mktemp("commands_with_torch"), "nerv360.api", "nerv360.training.fit")
    yield server
    server.close()


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write frames of the procedural clip to a video file."""

    def make(width: int = 160, height: int = 80, frames: int = 6, colour: Colour | None = None) -> Path:
        path = tmp_path_factory.mktemp("video") / "clip.mp4"
        pictures = (render_frame(i, width=2 * height, height=height, frames=64)[:, :width] for i in range(frames))
        pictures = (np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), mode="edge") for p in pictures)
        write_frames(path, pictures, Fraction(30000, 1001), colour or BT709)
        return path

    return make


@pytest.fixture(scope="session")
def video(make_video: Callable[..., Path], once: Callable[..., Path]) -> Path:
    return once("video.mp4", lambda path: make_video().rename(path))


@pytest.fixture(scope="session")
def encoded(video: Path, once: Callable[..., Path]) -> Path:
    from nerv360.api import encode

    return once("encoded.nerv360", lambda path: encode(video, path, QUICK))


@pytest.fixture(scope="session")
def fitted_grids(video: Path, once: Callable[..., Path]) -> Path:
    """The same clip by nerv360-grid."""
    from nerv360.api import encode

    config = preset_for("nerv360-grid", "fast").replace(epochs=6, context_steps=CONTEXT_STEPS)
    return once("fitted.nerv360", lambda path: encode(video, path, config))


@pytest.fixture(scope="session")
def keys(video: Path, once: Callable[..., Path]) -> Path:
    """The same clip by nerv360-motion."""
    from nerv360.api import encode

    return once("keys.nerv360", lambda path: encode(video, path, preset_for("nerv360-motion", "instant")))
