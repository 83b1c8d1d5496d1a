"""How much memory a network that decodes whole panoramas takes, and whether there is as much."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from nerv360.bitstream.layout import stage_strides
from nerv360.config import ModelConfig
from nerv360.errors import OutOfMemory

__all__ = ["bytes_needed", "check_memory", "enough_memory"]

# bytes per pixel of the panorama, without and per channel of the last stage, in float32 (benchmarks/reproduction)
BYTES_PER_PIXEL = {
    ("hnerv", "decoding"): (150, 7),
    ("hnerv", "training"): (1100, 16),
    ("hnerv-boost", "decoding"): (110, 15),
    ("hnerv-boost", "training"): (1200, 46),
}


def bytes_needed(config: ModelConfig, phase: str) -> float:
    """About what decoding or training takes in float32; 0 for a network that decodes views."""
    fixed, per_channel = BYTES_PER_PIXEL.get((config.model, phase), (0, 0))
    strides = stage_strides(config.decoder_strides)
    widest = max(width / stride**2 for width, stride in zip(config.channels, strides, strict=True))
    pixels = config.grid_width * config.grid_height * strides[0] ** 2
    return (fixed + per_channel * widest) * pixels


def check_memory(config: ModelConfig, phase: str, device: torch.device) -> None:
    """Raises OutOfMemory where a CPU has too little memory free for decoding or training."""
    needed, free = bytes_needed(config, phase), psutil.virtual_memory().available
    if device.type == "cpu" and needed > free:
        height = max(1, int(config.height * math.sqrt(free / needed) / 24)) * 24
        raise OutOfMemory(
            f"{config.model}, {config.width}x{config.height}: {phase} whole panoramas needs about "
            f"{needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free; a panorama of about {2 * height}x{height} would "
            "fit, or a smaller decoder, or the model nerv360, which decodes views alone"
        )


@contextmanager
def enough_memory(config: ModelConfig, phase: str, device: torch.device) -> Iterator[None]:
    """Raises OutOfMemory: on a CPU before the work, on CUDA when memory runs out."""
    check_memory(config, phase, device)
    try:
        yield
    except torch.OutOfMemoryError:
        raise OutOfMemory(
            f"{config.model}, {config.width}x{config.height}: {phase} does not fit the memory of {device}; take a "
            "smaller panorama (--size) or a smaller decoder (--decoder-size)"
        ) from None
