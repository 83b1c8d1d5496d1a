"""`nerv360 stream-cost`: what a viewer fetches of a file."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.table import Table

from nerv360.bitstream.container import Container
from nerv360.cli.console import console, progress_bar
from nerv360.cli.options import Source, read_views
from nerv360.geometry.viewport import JVET_HFOV_DEG, Viewport, dynamic_viewports

__all__ = ["stream_cost"]


def stream_cost(
    file: Source,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="A view per frame: yaw_deg,pitch_deg[,roll_deg][,hfov_deg]; by default VP0 and VP1 of JVET.",
        ),
    ] = None,
    hfov: Annotated[float, typer.Option(help="Horizontal field of view in degrees.")] = JVET_HFOV_DEG,
) -> None:
    """Tell how many bytes of a file a viewer fetches, second by second.

    Of a file with sectors (encode --sectors), these are fewer than its bytes.
    """
    with Container(file) as container:
        frames, start_s = container.header.frames, container.timeline.start_s
        segment = container.segments[0].header
        seconds = np.array([float(start_s(frame)) for frame in range(frames)])
    look = Viewport(hfov_deg=hfov, width=segment.view_width, height=segment.view_height)
    paths = dynamic_viewports(look, frames) if trace is None else {trace.name: read_views(trace, look, frames)}
    from nerv360.evaluation.streaming import stream_cost as cost_of

    table = Table(box=box.MARKDOWN, title=f"{file}: bytes fetched")
    table.add_column("second")
    costs = []
    for name, views in paths.items():
        table.add_column(name, justify="right")
        with progress_bar() as on_progress:
            costs.append(cost_of(file, views, on_progress))
    table.add_row("opening", *(f"{cost.opening:,}" for cost in costs))
    for second in range(int(seconds[-1]) + 1):
        within = seconds.astype(int) == second
        table.add_row(str(second), *(f"{int(cost.fetched[within].sum()):,}" for cost in costs))
    table.add_row("all", *(f"{cost.total:,}" for cost in costs))
    table.add_row("of the file", *(f"{100 * cost.share:.1f} %" for cost in costs))
    table.add_row("kbit/s", *(f"{8 * cost.total / cost.seconds / 1000:.1f}" for cost in costs))
    console.print(table)
