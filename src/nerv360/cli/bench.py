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

from nerv360.backends.registry import BACKENDS, check_precision, choose_backend, describe_backend, installed_backends
from nerv360.bitstream.container import Container
from nerv360.cli.console import progress
from nerv360.cli.options import Source, check_folder, parse_size
from nerv360.errors import ArgumentError, OutOfMemory
from nerv360.experiments.bench_targets import CONVENTIONAL, PLAIN, QUANTISED
from nerv360.geometry.viewport import Viewport
from nerv360.storage import atomic_write, name_of, parse_location
from nerv360.video.clip import Clip

if TYPE_CHECKING:
    from nerv360.experiments.playback import MachinePeak, Playback

__all__ = ["bench"]


def bench(
    file: Source,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="By default the training viewport's.")] = None,
    backends: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="By default all that are installed, and plain; int8 too."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="The video that was encoded: for the conventional road, with x265.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Pictures that are timed, of each kind.", min=1, max=10_000)] = 20,
    threads: Annotated[int | None, typer.Option(help="Of the processor; by default all.", min=1, max=1024)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="JSON", help="Write the figures too.")
    ] = None,
) -> None:
    """Measure how fast a file plays, backend by backend, against plain PyTorch and the conventional road.

    The view has the focal length that the network was trained for, so that every pixel of it is drawn. Turning: a
    paused frame, the view moves. Playing: frame after frame. Roaming: both, prepared ahead. Seeking: random frames.
    """
    with Container(file) as container:
        container.verify()
        header, segment = container.header, container.segments[0].header
    trained = segment.trained_view()
    width, height = parse_size(size) if size else (trained.width, trained.height)
    hfov_deg = 2 * math.degrees(math.atan(width / 2 / trained.focal[0]))
    view = Viewport(hfov_deg=hfov_deg, width=width, height=height)
    names = backends.split(",") if backends else [*installed_backends(), PLAIN]
    for name in names:
        if name == QUANTISED:
            check_precision(name, choose_backend("openvino", "cpu"))
        elif name != PLAIN:
            choose_backend(name, "cpu")
    if output is not None:
        check_folder(output)
    clip = Clip.open(source, size=(header.width, header.height)) if source else None
    if clip is not None:
        names.append(CONVENTIONAL)
        clip = replace(clip, frames=min(clip.frames, repeats))
    import torch

    from nerv360.evaluation.tables import markdown
    from nerv360.experiments.playback import drawing_gmac, machine_peak, measure_playback

    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    peak, gmac, rows = machine_peak(), drawing_gmac(file, view), []
    with progress("measuring", len(names)) as (bar, task):
        for name in bar.track(names, task_id=task):
            try:
                film = clip if name == CONVENTIONAL else None
                rows.append(measure_playback(file, name, view, repeats, threads, film))
            except (ArgumentError, OutOfMemory) as error:
                bar.console.print(f"left out: {error}", markup=False)
    machine = f"{platform.machine()}, {threads} threads"
    print(markdown(_table(rows, f"{name_of(parse_location(file))}, {width}x{height}, {machine}", gmac, peak)))
    print(f"one picture: {gmac:.2f} GMAC; this machine: {peak.gmac_per_s:.0f} GMAC/s, {peak.gb_per_s:.1f} GB/s")
    if output is not None:
        facts: dict[str, Any] = {"file": str(file), "width": width, "height": height, "machine": machine, "gmac": gmac}
        facts |= {"peak": asdict(peak), "rows": [asdict(row) for row in rows]}
        with atomic_write(output) as partial:
            partial.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _table(rows: "Sequence[Playback]", title: str, gmac: float, peak: "MachinePeak") -> Table:
    table = Table(title=title, box=box.MARKDOWN)
    kinds = ("turning", "playing", "roaming", "seeking")
    columns = ("Backend", "Opening, ms", "First, ms", *(f"{kind}, ms (p95)" for kind in kinds))
    for column in (*columns, "Roaming, FPS", "Of the peak", "Memory, MiB"):
        table.add_column(column[0].upper() + column[1:], no_wrap=True)
    for row in rows:
        times = [getattr(row, kind) for kind in kinds]
        drawn = row.backend != CONVENTIONAL
        table.add_row(
            describe_backend(row.backend) if row.backend in BACKENDS else row.backend,
            f"{row.open_ms:.0f}",
            f"{row.first_ms:.0f}",
            *(f"{each.median_ms:.1f} ({each.p95_ms:.1f})" for each in times),
            f"{1e3 / row.roaming.median_ms:.1f}",
            f"{100 * gmac / (row.turning.median_ms / 1e3) / peak.gmac_per_s:.0f} %" if drawn else "",
            "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f}",
        )
    return table
