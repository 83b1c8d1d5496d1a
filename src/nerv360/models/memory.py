"""How much memory a network takes that works on whole panoramas, and whether there is as much."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from nerv360.config import ModelConfig
from nerv360.errors import OutOfMemory
from nerv360.latents.grid import stage_strides

__all__ = ["bytes_needed", "check_memory", "enough_memory", "is_out_of_memory"]

# bytes per pixel of the panorama, without and per channel of the last stage, in float32 (benchmarks/reproduction)
BYTES_PER_PIXEL: dict[tuple[str, str], tuple[float, float]] = {
    ("hnerv", "encoding"): (350, 0),
    ("hnerv", "decoding"): (150, 7),
    ("hnerv", "training"): (1100, 16),
    ("hnerv-boost", "encoding"): (350, 0),
    ("hnerv-boost", "decoding"): (110, 15),
    ("hnerv-boost", "training"): (1200, 46),
    ("nerv360", "encoding"): (350, 0),
    ("nerv360", "training"): (350, 0),  # of one view: the encoder sees its surroundings alone
}
SEVERAL_VIEWS = (950, 0), (20, 4.7)  # of nerv360's training: the encoder sees everything; and for each view


def bytes_needed(config: ModelConfig, phase: str, views: int = 1) -> float:
    """About what encoding, decoding or training (with so many views) takes in float32; 0 where it is little."""
    fixed, per_channel = BYTES_PER_PIXEL.get((config.model, phase), (0, 0))
    if views > 1:
        fixed, per_channel = (whole + views * each for whole, each in zip(*SEVERAL_VIEWS, strict=True))
    strides = stage_strides(config.decoder_strides)
    widest = max(width / stride**2 for width, stride in zip(config.channels, strides, strict=True))
    pixels = config.grid_width * config.grid_height * strides[0] ** 2
    return (fixed + per_channel * widest) * pixels


def check_memory(config: ModelConfig, phase: str, device: torch.device, views: int = 1) -> None:
    """Raises OutOfMemory where a CPU has too little memory free for encoding, decoding or training."""
    needed, free = bytes_needed(config, phase, views), psutil.virtual_memory().available
    if device.type == "cpu" and needed > free:
        height = max(1, int(config.height * math.sqrt(free / needed) / 24)) * 24
        instead = "fewer views per step" if views > 1 else "the model nerv360, which decodes views alone"
        raise OutOfMemory(
            f"{config.model}, {config.width}x{config.height}: {phase} needs about {needed / 2**30:.1f} GiB, "
            f"{free / 2**30:.1f} are free; a panorama of about {2 * height}x{height} would fit, or a smaller decoder"
            + (f", or {instead}" if views > 1 or config.model != "nerv360" else "")
        )


@contextmanager
def enough_memory(config: ModelConfig, phase: str, device: torch.device, views: int = 1) -> Iterator[None]:
    """Raises OutOfMemory: before the work where that can be told, and when memory runs out."""
    check_memory(config, phase, device, views)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"{config.model}, {config.width}x{config.height}: {phase} does not fit the memory of {device}; take a "
            "smaller panorama (--size) or a smaller decoder (--decoder-size)"
        ) from None


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory has run out: on a CPU, PyTorch says that in words alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
