"""`nerv360 decode`: views of a file."""

import time
from pathlib import Path
from typing import Annotated

import typer

from nerv360.backends.registry import BACKENDS, check_precision, choose_backend
from nerv360.bitstream.container import Container
from nerv360.cli.console import console, progress
from nerv360.cli.options import Precision, Source, check_folder, parse_frames, parse_pair, parse_size
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import JVET_HFOV_DEG, Viewport, linear_trajectory, read_trajectory

__all__ = ["decode"]


def decode(
    file: Source,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help=".mp4, .png, .rgb, or a folder.")],
    yaw: Annotated[float, typer.Option(help="Degrees to the right.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="Degrees up.")] = 0.0,
    roll: Annotated[float, typer.Option(help="Degrees that the camera turns clockwise.")] = 0.0,
    hfov: Annotated[float, typer.Option(help="Horizontal field of view in degrees.")] = JVET_HFOV_DEG,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Size; by default the training viewport's.")] = None,
    frames: Annotated[str | None, typer.Option(metavar="A:B", help="Frames A to B-1; by default all.")] = None,
    to: Annotated[str | None, typer.Option(metavar="YAW,PITCH", help="Move there from --yaw, --pitch, evenly.")] = None,
    trajectory: Annotated[
        Path | None, typer.Option(metavar="CSV", help="A view per frame: yaw_deg,pitch_deg[,roll_deg][,hfov_deg].")
    ] = None,
    panorama: Annotated[bool, typer.Option("--panorama", help="The whole panorama, stitched from viewports.")] = False,
    backend: Annotated[
        str | None, typer.Option(help=f"{', '.join(BACKENDS)}; by default the first of them that is installed.")
    ] = None,
    precision: Precision = "float",
) -> None:
    """Decode a view of every frame, from the file alone.

    The ending of OUT chooses the kind: a video (.mp4, .mkv, .mov), one picture (.png), raw RGB (.rgb), or a folder of
    PNG pictures.
    """
    from nerv360.video.writer import check_ending

    check_ending(output)
    check_folder(output)
    check_precision(precision, choose_backend(backend, "cpu"))
    with Container(file) as container:
        header, segment = container.header, container.segments[0].header
        chosen = parse_frames(frames, header.frames)
        width, height = parse_size(size) if size else (segment.view_width, segment.view_height)
        container.verify()
    look = Viewport(yaw, pitch, roll, hfov, None, width, height)
    views: Viewport | list[Viewport] | None = look
    if sum((panorama, to is not None, trajectory is not None)) > 1:
        raise ArgumentError("--panorama, --to, --trajectory: give one of them")
    if panorama:
        views = None
    elif trajectory is not None:
        views = read_trajectory(trajectory, look)
        if len(views) != len(chosen):
            raise ArgumentError(f"{trajectory}: {len(views)} views for {len(chosen)} frames; give one for each")
    elif to is not None:
        views = linear_trajectory(look, len(chosen), (yaw, pitch), parse_pair(to, "--to", ","))
    from nerv360.api import decode as decode_file

    started = time.perf_counter()
    with progress("decoding", len(chosen)) as (bar, task):
        count = decode_file(
            file,
            output,
            views,
            frames=chosen,
            backend=backend,
            precision=precision,
            report=lambda done, total: bar.update(task, completed=done),
        )
    console.print(f"{output}: {count} frames, {count / (time.perf_counter() - started):.1f} frames/s with writing")
