"""`nerv360 decode`: views of a file."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from nerv360.backends.registry import MODULES, backend_of, check_precision, choose_backend, precision_on
from nerv360.bitstream.container import Container
from nerv360.claims import check_output
from nerv360.cli.console import console, progress_bar
from nerv360.cli.options import (
    MaxMemory,
    Precision,
    Source,
    check_device,
    check_eye,
    parse_frames,
    parse_memory,
    parse_pair,
    parse_size,
    read_views,
)
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import JVET_HFOV_DEG, Viewport, linear_trajectory
from nerv360.types import EYES
from nerv360.video.reading import BOTH
from nerv360.video.writer import check_ending

__all__ = ["decode"]

VIEW = "View"
ONE_OF_THEM = "--panorama, --to, --trajectory: give one of them"
HorizontalFov = Annotated[float, typer.Option(help="Horizontal field of view in degrees.", rich_help_panel=VIEW)]
ViewSize = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="Size; by default that of the file's own view.", rich_help_panel=VIEW),
]
FileEye = Annotated[
    str | None,
    typer.Option(
        "--eye",
        metavar="NAME",
        help="Of a file of both eyes: left or right; with --panorama by default both, the left one above the right.",
    ),
]


def decode(
    file: Source,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help=".mp4, .png, .rgb, or a folder.")],
    yaw: Annotated[float, typer.Option(help="Degrees to the right.", rich_help_panel=VIEW)] = 0.0,
    pitch: Annotated[float, typer.Option(help="Degrees up.", rich_help_panel=VIEW)] = 0.0,
    roll: Annotated[float, typer.Option(help="Degrees that the camera turns clockwise.", rich_help_panel=VIEW)] = 0.0,
    hfov: HorizontalFov = JVET_HFOV_DEG,
    size: ViewSize = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="YAW,PITCH", help="Move there from --yaw, --pitch, evenly.", rich_help_panel=VIEW),
    ] = None,
    trajectory: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="A view per frame: yaw_deg,pitch_deg[,roll_deg][,hfov_deg].", rich_help_panel=VIEW
        ),
    ] = None,
    panorama: Annotated[
        bool,
        typer.Option(
            "--panorama", help="The whole panorama; most networks stitch it from views.", rich_help_panel=VIEW
        ),
    ] = False,
    frames: Annotated[str | None, typer.Option(metavar="A:B", help="Frames A to B-1; by default all.")] = None,
    backend: Annotated[
        str | None, typer.Option(help=f"For networks: {', '.join(MODULES)}; by default the fastest that is here.")
    ] = None,
    device: Annotated[str, typer.Option(help="For networks: cpu or cuda.")] = "cpu",
    precision: Precision = None,
    max_memory: MaxMemory = None,
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Videos have the file's sound.")] = True,
    eye: FileEye = None,
) -> None:
    """Decode a view of every frame, from the file alone.

    The ending of OUT chooses the kind: a video (.mp4, .mkv, .mov), one picture (.png), raw RGB (.rgb), or a folder of
    PNG pictures.
    """
    check_ending(output)
    check_device(device)
    check_precision(precision, choose_backend(backend, device), device)
    with Container(file) as container:
        header, segment = container.header, container.segments[0].header
        chosen = parse_frames(frames, header.frames)
        check_eye(eye, header.eyes or 1)
        width, height = parse_size(size) if size else (segment.view_width, segment.view_height)
        check_ending(output, header.sound if audio else None)
        check_output(output, *container.files(), *([trajectory] if trajectory else []))
        container.verify()
        decoded_by = container.segments[0].spec.runtime or (
            f"{backend_of(container, backend, device, precision)} on {device} in {precision_on(device, precision)}"
        )
    first = Viewport(yaw, pitch, roll, hfov, None, width, height)
    views = None if panorama else _views(first, len(chosen), to, trajectory)
    if panorama and (to or trajectory):
        raise ArgumentError(ONE_OF_THEM)
    if eye == BOTH and not panorama:
        raise ArgumentError(f"--eye {BOTH}: is for --panorama; a view is of {' or '.join(EYES)}")
    from nerv360.api import decode as decode_file

    options: dict[str, Any] = {
        "backend": backend,
        "device": device,
        "precision": precision,
        "max_memory": parse_memory(max_memory),
    }
    options |= {"audio": audio, "eye": eye}
    started = time.perf_counter()
    with progress_bar() as on_progress:
        count = decode_file(file, output, views, frames=chosen, on_progress=on_progress, **options)
    speed = count / (time.perf_counter() - started)
    console.print(f"{output}: {count} frames, {speed:.1f} frames/s with writing, by {decoded_by}")


def _views(first: Viewport, count: int, to: str | None, trajectory: Path | None) -> Viewport | list[Viewport]:
    """One view for all frames, or one for each of them."""
    if to is not None and trajectory is not None:
        raise ArgumentError(ONE_OF_THEM)
    if to is not None:
        return linear_trajectory(first, count, (first.yaw_deg, first.pitch_deg), parse_pair(to, "--to", ","))
    if trajectory is None:
        return first
    return read_views(trajectory, first, count)
