"""`nerv360 bench`: how fast a file plays on this machine."""

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from nerv360.backends.registry import describe_backend
from nerv360.bitstream.container import Container
from nerv360.claims import check_output
from nerv360.cli.console import progress_bar, remarks
from nerv360.cli.options import Eye, Projection, Source, Stereo, one_eye, parse_size
from nerv360.errors import ArgumentError, OutOfMemory
from nerv360.experiments.bench_targets import DECODE_THEN_CROP, bench_targets
from nerv360.geometry.viewport import Viewport
from nerv360.progress import tracked
from nerv360.storage import atomic_write, name_of, parse_location
from nerv360.video.clip import Clip

if TYPE_CHECKING:
    from nerv360.experiments.playback import Playback, Workload

__all__ = ["bench"]


def bench(
    file: Source,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="By default the file's own view.")] = None,
    backends: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="For networks; by default all that are installed, and plain; int8 too."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="The video that was encoded: to decode its x265 file, then crop.")
    ] = None,
    projection: Projection = None,
    stereo: Stereo = None,
    eye: Eye = None,
    repeats: Annotated[int, typer.Option(help="Pictures that are timed, of each kind.", min=1, max=10_000)] = 20,
    threads: Annotated[int | None, typer.Option(help="Of the processor; by default all.", min=1, max=1024)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="JSON", help="Write the figures too.")
    ] = None,
) -> None:
    """Measure how fast a file plays, against x265, decoded and cropped; a network backend by backend, and plainly.

    The view has the focal length of the file's own, so that every pixel of it is drawn. Paused pan: one frame, the view
    moves. Playing: frame after frame. Playing pan: both, prepared ahead. Seeking: random frames.
    """
    with Container(file) as container:
        container.verify()
        header, segment = container.header, container.segments[0]
        if output is not None:
            check_output(output, *container.files(), *([source] if source else []))
    view = _view(segment.header.trained_view(), parse_size(size) if size else None)
    names = bench_targets(segment.spec, backends)
    layout = one_eye(projection, stereo, eye)
    clip = Clip.open(source, size=(header.width, header.height), layout=layout) if source else None
    if clip is not None:
        names.append(DECODE_THEN_CROP)
        clip = replace(clip, frames=min(clip.frames, repeats))
    import torch

    from nerv360.evaluation.tables import markdown
    from nerv360.experiments.playback import measure_workload

    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    work = None if segment.spec.runtime else measure_workload(file, view)
    rows = _measure(names, file, view, repeats, threads, clip)
    machine = f"{platform.machine()}, {threads} threads"
    print(markdown(_table(rows, f"{name_of(parse_location(file))}, {view.width}x{view.height}, {machine}", work)))
    if work is not None:
        peak = f"{work.peak.gmac_per_s:.0f} GMAC/s, {work.peak.gb_per_s:.1f} GB/s"
        print(f"one picture: {work.gmac:.2f} GMAC; this machine: {peak}")
    if output is not None:
        facts: dict[str, Any] = {"file": str(file), "width": view.width, "height": view.height, "machine": machine}
        facts |= (asdict(work) if work else {}) | {"rows": [asdict(row) for row in rows]}
        with atomic_write(output) as partial:
            partial.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _view(trained: Viewport, size: tuple[int, int] | None) -> Viewport:
    """A view of that size, of the focal length of the trained one."""
    width, height = size or (trained.width, trained.height)
    hfov_deg = 2 * math.degrees(math.atan(width / 2 / trained.focal[0]))
    return Viewport(hfov_deg=hfov_deg, width=width, height=height)


def _measure(
    names: Sequence[str], file: str, view: Viewport, repeats: int, threads: int, source: Clip | None
) -> "list[Playback]":
    from nerv360.experiments.playback import measure_playback

    rows = []
    with progress_bar() as on_progress:
        for name in tracked(names, "measuring", len(names), on_progress):
            try:
                clip = source if name == DECODE_THEN_CROP else None
                rows.append(measure_playback(file, name, view, repeats, threads, clip))
            except (ArgumentError, OutOfMemory) as error:
                remarks.print(f"left out: {error}")
    return rows


def _table(rows: "Sequence[Playback]", title: str, work: "Workload | None") -> Table:
    table = Table(title=title, box=box.MARKDOWN)
    kinds = ("paused_pan", "playing", "playing_pan", "seeking")
    columns = ("Backend", "Opening, ms", "First, ms", *(f"{kind.replace('_', ' ')}, ms (p95)" for kind in kinds))
    share = () if work is None else ("Of the peak",)
    for column in (*columns, "Playing pan, FPS", *share, "Memory, MiB"):
        table.add_column(column[0].upper() + column[1:], no_wrap=True)
    for row in rows:
        times = [getattr(row, kind) for kind in kinds]
        table.add_row(
            describe_backend(row.backend),
            f"{row.open_ms:.0f}",
            f"{row.first_ms:.0f}",
            *(f"{each.median_ms:.1f} ({each.p95_ms:.1f})" for each in times),
            f"{1e3 / row.playing_pan.mean_ms:.1f}",
            *(() if work is None else (_share(row, work),)),
            "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f}",
        )
    return table


def _share(row: "Playback", work: "Workload") -> str:
    """How much of what the machine can compute drawing does."""
    if row.backend == DECODE_THEN_CROP:
        return ""
    return f"{100 * work.gmac / (row.paused_pan.median_ms / 1e3) / work.peak.gmac_per_s:.0f} %"
