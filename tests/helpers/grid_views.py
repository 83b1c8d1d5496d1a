"""What shaders are tested with: views that are hard to sample, and what PyTorch draws for them."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from nerv360.api import encode
from nerv360.bitstream.container import Container
from nerv360.codec.network_decoder import NetworkDecoder, NetworkDrawing
from nerv360.config import preset_for
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import LatentGrid
from nerv360.types import BT709, Picture
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

VIEWS = [
    Viewport(yaw, pitch, roll, fov, None, width, height)
    for yaw, pitch, roll, fov, width, height in (
        (180, 0, 0, 78.1, 96, 54),  # the seam
        (20, 90, 0, 60, 65, 37),  # the poles
        (-130, -88, 200, 100, 72, 72),
        (10, 20, -65, 40, 120, 48),  # roll
        (-175, -35, 15, 120, 91, 130),
    )
]


def write_wide_file(path: Path) -> None:
    """A file of a turning camera, whose network has more channels than a texel, and some stages without grids."""
    layout = ((24, 4, 4, True), (24, 2, 2), (8, 6, 3), (8, 5, 0), (2, 2, 0), (1, 1, 0))
    grids = tuple(LatentGrid(*grid) for grid in layout)
    config = preset_for("nerv360-grid", "fast").replace(epochs=2, channels=(6, 5, 8, 4, 9), grids=grids)
    still = render_frame(0, width=192, height=96, frames=64)
    pictures = (np.roll(still, 3 * index, axis=1) for index in range(6))
    write_frames(path.with_name("turning.mp4"), pictures, Fraction(30), BT709)
    encode(path.with_name("turning.mp4"), path, config)


def drawn_by_torch(container: Container, frame: int, view: Viewport) -> Picture:
    """The view itself, whatever focal length the network was trained for."""
    segment = container.segment_of(frame)
    decoder = NetworkDecoder(container, segment, "torch")
    inputs = decoder.draw_inputs(frame - segment.first_frame, view)
    return NetworkDrawing(decoder, frame - segment.first_frame, *inputs, view, view).draw()
