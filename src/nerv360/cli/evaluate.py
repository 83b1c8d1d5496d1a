"""`nerv360 eval`: a file against its source."""

import json
from pathlib import Path
from typing import Annotated

import typer

from nerv360.backends.registry import check_precision, choose_backend
from nerv360.bitstream.container import Container
from nerv360.claims import check_output
from nerv360.cli.console import console, evaluation_table, progress_bar
from nerv360.cli.options import (
    Eye,
    Force,
    Precision,
    Projection,
    Source,
    Stereo,
    parse_size,
)
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import JVET_HFOV_DEG, Viewport, dynamic_viewports, read_trajectory

__all__ = ["evaluate"]


def evaluate(
    file: Source,
    source: Annotated[Path, typer.Option(help="The video that was encoded.", show_default=False)],
    start: Annotated[int, typer.Option(metavar="K", help="The --start with which it was encoded.")] = 0,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Viewport; by default that of the file's own view.")
    ] = None,
    hfov: Annotated[float, typer.Option(help="Horizontal field of view in degrees.")] = JVET_HFOV_DEG,
    trajectory: Annotated[
        Path | None, typer.Option(metavar="CSV", help="A view per frame, instead of JVET's Balboa VP0 and VP1.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Write source, decoded view and their difference side by side.")
    ] = None,
    precision: Precision = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    projection: Projection = None,
    stereo: Stereo = None,
    eye: Eye = None,
    force: Force = False,
) -> None:
    """Decode a file and measure it against its source: PSNR, MS-SSIM, WS-PSNR, rate, speed; means of both eyes."""
    from nerv360.video.clip import Clip
    from nerv360.video.reading import BOTH, Layout

    if picture is not None and picture.suffix.lower() != ".png":
        raise ArgumentError(f"--picture {picture}: must end in .png")
    check_precision(precision, choose_backend(None, "cpu"))
    with Container(file) as container:
        container.verify()
        header, segment = container.header, container.segments[0].header
        if picture is not None:
            check_output(picture, source, *container.files(), *([trajectory] if trajectory else []))
    width, height = parse_size(size) if size else (segment.view_width, segment.view_height)
    look = Viewport(hfov_deg=hfov, width=width, height=height)
    layout = Layout(projection, stereo, eye, None if header.eyes is None else BOTH)
    size_of_file = (header.width, header.height)
    clip = Clip.open(source, start=start, frames=header.frames, size=size_of_file, layout=layout, force=force)
    views = {trajectory.stem: read_trajectory(trajectory, look)} if trajectory else None
    if views and len(next(iter(views.values()))) != header.frames:
        raise ArgumentError(f"{trajectory}: needs {header.frames} views, one for each frame")
    from nerv360.api import eval_file

    with progress_bar(quiet=as_json) as on_progress:
        result = eval_file(
            file,
            clip,
            views=views or dynamic_viewports(look, header.frames),
            picture=picture,
            precision=precision,
            on_progress=on_progress,
        )
    if as_json:
        print(json.dumps(result.as_dict(), indent=2))
    else:
        console.print(evaluation_table(result))
