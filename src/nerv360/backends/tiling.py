"""A picture drawn strip by strip, so that memory does not grow with it."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from nerv360.backends.runner import Runner
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import stage_strides
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.memory import check_bytes
from nerv360.models.network_config import NetworkConfig
from nerv360.types import Picture

__all__ = ["STRIP_BYTES", "check_pixels", "check_size", "draw_in_strips", "strips"]

STRIP_BYTES = 64 << 20  # of the largest features of a strip on a CPU, in float32: benchmarks/runtime/README.md
GPU_STRIP_BYTES = 4 << 30  # views of some megapixels are drawn whole
LEAST_MARGINS = 4  # of a strip's rows: so a row is drawn twice at most
MAX_ROW_BYTES = 512 << 20  # of those of a row of cells: a strip has one at least
MAX_PIXELS = 1 << 26  # of a view
SMALL_PIXELS = 1 << 20  # of one whose memory is not asked about
BYTES_PER_PIXEL = 40  # of rays, footprints and pictures; measured: 26 to 38


def check_size(view: Viewport, config: NetworkConfig, max_memory: int | None = None) -> None:
    """Raises ArgumentError, OutOfMemory for a view that would take too much memory even in strips."""
    check_pixels(view, max_memory)
    widest = int(MAX_ROW_BYTES / _bytes_per_row(1, config))
    if view.width > widest:
        raise ArgumentError(
            f"viewport {view.width}x{view.height}: takes too much memory; ask for a smaller view, at most {widest} wide"
        )


def check_pixels(view: Viewport, max_memory: int | None = None) -> None:
    """Raises ArgumentError for a picture that is too large, OutOfMemory where there is too little memory for it."""
    if view.width * view.height > MAX_PIXELS:
        raise ArgumentError(
            f"viewport {view.width}x{view.height}: takes too much memory; ask for a smaller view, of at most "
            f"{MAX_PIXELS:,} pixels"
        )
    if view.width * view.height > SMALL_PIXELS:
        check_bytes(BYTES_PER_PIXEL * view.width * view.height, f"a view of {view.width}x{view.height}", max_memory)


def draw_in_strips(
    runner: Runner, model: DecoderNetwork, sampled: Sequence[Tensor], modulations: Sequence[Tensor]
) -> Picture:
    """The same picture as `runner.draw` of everything at once: strips overlap by what a pixel depends on."""
    assert not model.draws_panorama
    stride = math.prod(model.config.decoder_strides)
    cells = min(each.shape[-2] for each in sampled)
    width = stride * min(each.shape[-1] for each in sampled)
    margin = -(-model.receptive_margin // stride)
    room = STRIP_BYTES if sampled[0].device.type == "cpu" else GPU_STRIP_BYTES
    most = max(1, LEAST_MARGINS * margin, int(room / _bytes_per_row(width, model.config)))
    if most >= cells:
        return runner.draw(sampled, modulations)
    count = -(-(cells - 2 * margin) // (most - 2 * margin))
    rows = 2 * margin - (2 * margin - cells) // count  # strips of one size
    picture: Picture = np.empty((stride * cells, width, 3), dtype=np.uint8)
    for top, first, end in strips(cells, rows, margin):
        parts = [each[..., top * (f := each.shape[-2] // cells) : (top + rows) * f, :] for each in sampled]
        drawn = runner.draw(parts, modulations)
        picture[stride * first : stride * end] = drawn[stride * (first - top) : stride * (end - top)]
    return picture


def strips(cells: int, rows: int, margin: int) -> Iterator[tuple[int, int, int]]:
    """Strips of so many rows of cells: where each begins, and the rows (first, end) that are right in it.

    Rows near a strip's edge are wrong, but for those at the edge of the picture.
    """
    end = 0
    while end < cells:
        top = min(max(0, end - margin), cells - rows)
        first, end = end, cells if top + rows == cells else top + rows - margin
        yield top, first, end


def _bytes_per_row(width: int, config: NetworkConfig) -> float:
    """Of the largest features of one row of cells."""
    strides = stage_strides(config.decoder_strides)
    largest = max(
        (c + g) / s**2 for c, g, s in zip(config.channels, config.latent_channels_per_stage(), strides, strict=True)
    )
    return 4 * largest * width * strides[0]
