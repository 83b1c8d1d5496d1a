"""`nerv360 reproduce`: the paper's tables and figure, run by run. A finished run is not run again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nerv360.console import console, encoding_progress, parse_size, progress
from nerv360.errors import ArgumentError

if TYPE_CHECKING:
    from nerv360.evaluation.reproduce import Row, Run, Scale
    from nerv360.video.clip import Clip

app = typer.Typer(
    no_args_is_help=True,
    help="The paper's experiments: every network of a table fitted, written, read back and measured. "
    "Interrupt as you like: finished runs are kept in the output folder, and are not run again.",
)

Videos = Annotated[list[Path], typer.Argument(help="Equirectangular videos, 2:1.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of files, rows and tables.")]
ScaleName = Annotated[str, typer.Option("--scale", help="small (a CPU, about an hour), paper-2.2m or paper-17.6m.")]
Start = Annotated[int, typer.Option(metavar="K", help="First frame of every video, from 0.")]
Frames = Annotated[int | None, typer.Option(metavar="N", help="Number of frames; by default, the scale's.")]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Size of the panoramas; by default, the scale's.")]
Epochs = Annotated[int | None, typer.Option(help="By default, the scale's.", show_default=False)]
DecoderSize = Annotated[int | None, typer.Option(help="By default, the scale's.", show_default=False)]
Seeds = Annotated[str, typer.Option(metavar="A,B,...", help="Every network is fitted once with each of them.")]
Only = Annotated[str | None, typer.Option(metavar="NAME", help="Only the rows that are called so.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; by default, what there is.")]


@app.command()
def table1(
    videos: Videos,
    output: Output = Path("reproduction"),
    scale: ScaleName = "small",
    start: Start = 0,
    frames: Frames = None,
    size: Size = None,
    epochs: Epochs = None,
    decoder_size: DecoderSize = None,
    seeds: Seeds = "0",
    only: Only = None,
    device: Device = None,
) -> None:
    """Table I: HNeRV, HNeRV-Boost and NeRV360 side by side: quality, speed, memory, bytes."""
    from nerv360.evaluation.reproduce import table1_runs

    chosen, clips = _prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    runs = table1_runs(chosen.settings, clips, _parse_seeds(seeds))
    _carry_out(runs, output, only, device)


@app.command()
def table2(
    videos: Videos,
    output: Output = Path("reproduction"),
    scale: ScaleName = "small",
    start: Start = 0,
    frames: Frames = None,
    size: Size = None,
    epochs: Epochs = None,
    decoder_size: DecoderSize = None,
    seeds: Seeds = "0",
    only: Only = None,
    device: Device = None,
) -> None:
    """Table II: NeRV360 and its six ablations."""
    from nerv360.evaluation.reproduce import table2_runs

    chosen, clips = _prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    runs = table2_runs(chosen.settings, clips, _parse_seeds(seeds))
    _carry_out(runs, output, only, device)


@app.command()
def freeview(
    videos: Videos,
    output: Output = Path("reproduction"),
    scale: ScaleName = "small",
    start: Start = 0,
    frames: Frames = None,
    size: Size = None,
    epochs: Epochs = None,
    decoder_size: DecoderSize = None,
    seeds: Seeds = "0",
    only: Only = None,
    device: Device = None,
) -> None:
    """The paper's future work: one file for every roll and field of view, against one for a fixed view."""
    from nerv360.evaluation.reproduce import free_view_runs

    chosen, clips = _prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    runs = free_view_runs(chosen.settings, clips, _parse_seeds(seeds))
    _carry_out(runs, output, only, device)


def _prepare(
    videos: Sequence[Path],
    output: Path,
    scale: str,
    start: int,
    frames: int | None,
    size: str | None,
    epochs: int | None,
    decoder_size: int | None,
) -> "tuple[Scale, list[Clip]]":
    """The scale with what was asked for in its place, and the videos at it."""
    from nerv360.evaluation.reproduce import SCALES
    from nerv360.video.clip import Clip

    if scale not in SCALES:
        raise ArgumentError(f"--scale {scale}: must be one of {', '.join(SCALES)}")
    given: dict[str, Any] = {"epochs": epochs, "decoder_size": decoder_size}
    chosen = SCALES[scale]
    settings = replace(chosen.settings, **{name: value for name, value in given.items() if value is not None})
    width, height = parse_size(size) if size else (chosen.width, chosen.height)
    clips = []
    for video in videos:
        whole = Clip.open(video, start=start, size=(width, height))
        most = whole.frames if chosen.frames is None else min(chosen.frames, whole.frames)
        clips.append(
            replace(whole, frames=most)
            if frames is None
            else Clip.open(video, start=start, frames=frames, size=(width, height))
        )
    output.mkdir(parents=True, exist_ok=True)
    return replace(chosen, settings=settings, width=width, height=height), clips


def _carry_out(runs: "Sequence[Run]", folder: Path, only: str | None, device: str | None) -> "list[Row]":
    """The rows of all runs, each under a progress bar of its own."""
    from nerv360.api import choose_device
    from nerv360.evaluation.reproduce import finished, fit_run, measure_run

    chosen = [run for run in runs if only in (None, run.variant)]
    if not chosen:
        raise ArgumentError(f"--only {only}: must be one of {', '.join(dict.fromkeys(run.variant for run in runs))}")
    rows = []
    for number, run in enumerate(chosen, start=1):
        console.print(f"{number} of {len(chosen)}: {run.variant}, {run.clip.path.name}, seed {run.config.seed}")
        row = finished(run, folder)
        if row is None:
            with encoding_progress(run.clip, run.config) as (report, _):
                fit_run(run, folder, choose_device(device), report)
            with progress("measuring", run.clip.frames) as (bar, task):
                row = measure_run(run, folder, choose_device(device), lambda done, _: bar.update(task, completed=done))
        rows.append(row)
    return rows


def _parse_seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise ArgumentError(f"--seeds {text}: must be whole numbers, as 0,1,2") from None
