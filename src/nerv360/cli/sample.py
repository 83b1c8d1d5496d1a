"""`nerv360 sample`: a procedural clip."""

import re
from pathlib import Path
from typing import Annotated

import typer

from nerv360.claims import check_output, claim
from nerv360.cli.console import console, progress_bar
from nerv360.cli.options import parse_size
from nerv360.errors import ArgumentError
from nerv360.progress import tracked
from nerv360.types import BT709

__all__ = ["sample"]


def sample(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Video to write (.mp4), or a folder for PNGs.")],
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the panorama, 64x32 to 8192x4096.")] = "1024x512",
    frames: Annotated[int, typer.Option(help="Number of frames.", min=1, max=100_000)] = 64,
    fps: Annotated[str, typer.Option(help="Frames per second, as 25 or 30000/1001.")] = "25",
) -> None:
    """Write a procedural 360-degree clip: the same arguments give the same pixels, on every machine.

    A walk along an avenue; balls cross the seam and the poles. Nothing is needed to make it, and anyone may use it.
    """
    from fractions import Fraction

    from nerv360.video.synthetic import render_frame
    from nerv360.video.writer import check_ending, write_frames

    width, height = parse_size(size)
    if not (64 <= width <= 8192 and width == 2 * height):
        raise ArgumentError(f"--size {size}: must be 2:1, 64x32 to 8192x4096")
    if not re.fullmatch(r"[1-9]\d{0,5}(\.\d{1,6}|/[1-9]\d{0,5})?", fps):
        raise ArgumentError(f"--fps {fps}: must be a positive number, as 25, 29.97 or 30000/1001")
    check_ending(output)
    check_output(output)
    pictures = (render_frame(index, width=width, height=height, frames=frames) for index in range(frames))
    with claim(output), progress_bar() as on_progress:
        write_frames(output, tracked(pictures, "rendering", frames, on_progress), Fraction(fps), BT709)
    console.print(f"{output}: {width}x{height}, {frames} frames")
