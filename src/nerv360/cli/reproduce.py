"""`nerv360 reproduce`: the paper's tables and figure, run by run. A finished run is not run again."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nerv360.cli.console import console, progress_bar
from nerv360.cli.options import make_folder, parse_size
from nerv360.config import SCALES, EncodingConfig, Scale
from nerv360.errors import ArgumentError, NoSuchDecoder, OutOfMemory
from nerv360.progress import tracked
from nerv360.storage import name_of
from nerv360.video.clip import Clip

if TYPE_CHECKING:
    from rich.table import Table

    from nerv360.evaluation.results_store import Row
    from nerv360.experiments.reproduce import Run

LONGEST_NAME = 80  # of films or sizes, in the name of a table

app = typer.Typer(
    no_args_is_help=True,
    help="The paper's experiments: every network of a table fitted, written, read back and measured. "
    "Interrupt as you like: finished runs are kept in the output folder, and are not run again.",
)

Videos = Annotated[list[Path], typer.Argument(help="Equirectangular videos, 2:1.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of files, rows and tables.")]
ScaleName = Annotated[str, typer.Option("--scale", help="small (for a CPU), paper-2.2m or paper-17.6m.")]
Start = Annotated[int, typer.Option(metavar="K", help="First frame of every video, from 0.")]
Frames = Annotated[int | None, typer.Option(metavar="N", help="Number of frames; by default, the scale's.")]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Size of the panoramas; by default, the scale's.")]
Epochs = Annotated[int | None, typer.Option(help="By default, the scale's.", show_default=False)]
DecoderSize = Annotated[int | None, typer.Option(help="By default, the scale's.", show_default=False)]
Seeds = Annotated[str, typer.Option(metavar="A,B,...", help="Every network is fitted once with each of them.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Only = Annotated[str | None, typer.Option(metavar="NAME", help="Only the rows that are called so.")]
Repeats = Annotated[int, typer.Option(help="Measurements of speed; their mean counts.", min=1, max=1000)]
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
    budget: Annotated[
        str, typer.Option(help="What all have the same of: steps, or time (as many steps as NeRV360's time allows).")
    ] = "steps",
    repeats: Repeats = 5,
    device: Device = None,
) -> None:
    """Table I: HNeRV, HNeRV-Boost and NeRV360 side by side: quality, speed, memory, bytes."""
    if budget not in ("steps", "time"):
        raise ArgumentError(f"--budget {budget}: must be steps or time")
    each = _parse_seeds(seeds)
    chosen, clips = _prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    from nerv360.experiments.benchmark import PHASES
    from nerv360.experiments.reproduce import equal_time, table1_runs, trainable
    from nerv360.experiments.tables import table1 as render

    everything = table1_runs(chosen.settings, clips, each)
    runs = _choose(everything, only)
    compared = runs if budget == "steps" else everything
    configs = list(dict.fromkeys(replace(run.config, seed=0) for run in compared))
    costs = _measure(configs, [(chosen.width, chosen.height)], PHASES, output, repeats, device)
    if too_large := dict.fromkeys(run.variant for run in runs if not trainable(run, costs)):
        console.print(f"left out: {', '.join(too_large)}: training does not fit the memory; see --size, --decoder-size")
    wanted = list(dict.fromkeys(run.variant for run in runs))
    runs = equal_time(runs, costs) if budget == "time" else [run for run in runs if trainable(run, costs)]
    rows = _carry_out(runs, output, device)
    left_out = [variant for variant in wanted if variant not in {row["variant"] for row in rows}]
    name = "table1" if budget == "steps" else "table1-time"
    _show(render(rows, costs, left_out), output / f"{name}-{_setting(chosen, clips, each)}", only)


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
    each = _parse_seeds(seeds)
    chosen, clips = _prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    from nerv360.experiments.reproduce import table2_runs
    from nerv360.experiments.tables import table2 as render

    runs = _choose(table2_runs(chosen.settings, clips, each), only)
    _show(render(_carry_out(runs, output, device)), output / f"table2-{_setting(chosen, clips, each)}", only)


@app.command()
def figure4(
    videos: Videos,
    output: Output = Path("reproduction"),
    scale: ScaleName = "small",
    start: Start = 0,
    frames: Frames = None,
    size: Size = None,
    epochs: Epochs = None,
    decoder_size: DecoderSize = None,
    seed: Seed = 0,
    only: Only = None,
    device: Device = None,
) -> None:
    """Fig. 4: crops of the networks of Table I beside the source; a PNG for every video."""
    chosen, clips = _prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    from nerv360.api import choose_device
    from nerv360.experiments import figures
    from nerv360.experiments.reproduce import file_of, table1_runs

    for clip in clips:
        runs = _choose(table1_runs(chosen.settings, [clip], [seed]), only)
        done = {row["variant"] for row in _carry_out(runs, output, device)}
        files = {run.variant: file_of(run, output) for run in runs if run.variant in done}
        if only is None:
            picture = output / f"figure4-{_setting(chosen, [clip], [seed])}.png"
            figures.figure4(files, clip, picture, str(choose_device(device)))
            console.print(f"{picture}")


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
    seed: Seed = 0,
    only: Only = None,
    device: Device = None,
) -> None:
    """The paper's future work: one file for every roll and field of view, against one for a fixed view."""
    chosen, clips = _prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    from nerv360.api import choose_device
    from nerv360.experiments import figures
    from nerv360.experiments.reproduce import FREE_VIEWS, file_of, free_view_rows, free_view_runs
    from nerv360.experiments.tables import free_view_table

    for clip in clips:
        runs = _choose(free_view_runs(chosen.settings, [clip], [seed]), only)
        done = {row["variant"] for row in _carry_out(runs, output, device)}
        files = {run.variant: file_of(run, output) for run in runs if run.variant in done}
        rows: list[Row] = []
        measured = (
            row for run in runs if run.variant in done for row in free_view_rows(run, output, choose_device(device))
        )
        with progress_bar() as on_progress:
            rows += tracked(measured, "measuring views", len(files) * len(FREE_VIEWS), on_progress)
        name = f"freeview-{_setting(chosen, [clip], [seed])}"
        _show(free_view_table(rows), output / name, only)
        if only is None:
            picture = output / f"{name}.png"
            figures.free_view_figure(files, clip, picture, str(choose_device(device)))
            console.print(f"{picture}")


@app.command()
def speed(
    panoramas: Annotated[
        str, typer.Argument(metavar="WxH,WxH,...", help="Sizes of the panorama; what does not fit is extrapolated.")
    ] = "6144x3072",
    output: Output = Path("reproduction"),
    scale: ScaleName = "paper-2.2m",
    viewport: Annotated[
        str | None, typer.Option(metavar="WxH", help="By default, 5/16 of the panorama's width.")
    ] = None,
    decoder_size: DecoderSize = None,
    phases: Annotated[str, typer.Option(metavar="A,B,...", help="Which to measure.")] = "encoding,decoding,training",
    repeats: Repeats = 5,
    device: Device = None,
) -> None:
    """Speed and memory of the three networks without fitting them: on a GPU, the paper's in a few minutes."""
    settings = replace(_scale(scale).settings, view_width=None, view_height=None)
    if decoder_size is not None:
        settings = replace(settings, decoder_size=decoder_size)
    if viewport is not None:
        width, height = parse_size(viewport, "--viewport")
        settings = replace(settings, view_width=width, view_height=height)
    sizes = [parse_size(size, "panorama") for size in panoramas.split(",")]
    for width, height in sizes:
        if not (96 <= width <= 16384 and 2 * height == width):
            raise ArgumentError(f"{width}x{height}: a panorama must be 2:1, 96x48 to 16384x8192, as 6144x3072")
    _make_folder(output)
    from nerv360.experiments.benchmark import PHASES
    from nerv360.experiments.reproduce import NAMES
    from nerv360.experiments.tables import costs_table

    wanted = phases.split(",")
    if not set(wanted) <= set(PHASES):
        raise ArgumentError(f"--phases {phases}: must be among {', '.join(PHASES)}")
    configs = [replace(settings, model=model) for model in NAMES]
    shown = panoramas.replace(",", "-")[:LONGEST_NAME]
    setting = f"{shown}-{viewport or '5-16'}-{settings.decoder_size}-{'-'.join(dict.fromkeys(wanted))}"
    _show(costs_table(_measure(configs, sizes, wanted, output, repeats, device)), output / f"speed-{setting}", None)


def _measure(
    configs: Sequence[EncodingConfig],
    sizes: Sequence[tuple[int, int]],
    phases: Sequence[str],
    folder: Path,
    repeats: int,
    device: str | None,
) -> "list[Row]":
    """What every network costs at every size, each phase in a process of its own."""
    from nerv360.api import choose_device
    from nerv360.experiments.reproduce import cost_of

    wanted = [(config, size, phase) for size in sizes for config in configs for phase in phases]
    with progress_bar() as on_progress:
        return [
            cost_of(config, size, phase, folder, choose_device(device), repeats)
            for config, size, phase in tracked(wanted, "measuring speed and memory", len(wanted), on_progress)
        ]


def _show(table: "Table", path: Path, only: str | None) -> None:
    """On the terminal, and a whole table as Markdown and HTML too."""
    from nerv360.evaluation.tables import markdown, write_table

    print(markdown(table))
    if only is None:
        write_table(table, path)
        console.print(f"{path}.md, {path}.html")


def _setting(scale: Scale, clips: Sequence[Clip], seeds: Sequence[int]) -> str:
    """For the name of a table: one of another setting, or of other films, gets another."""
    films = "-".join(f"{Path(name_of(clip.path)).stem}-{clip.start}-{clip.frames}" for clip in clips)
    if len(films) > LONGEST_NAME:
        films = f"{films[:LONGEST_NAME]}-and-more"
    settings, drawn = scale.settings, "-".join(map(str, seeds))
    digest = hashlib.sha256(" ".join(clip.fingerprint() for clip in clips).encode()).hexdigest()[:6]
    size = f"{scale.width}x{scale.height}"
    return f"{films}-{size}-{settings.decoder_size}-{settings.epochs}-seed-{drawn[:LONGEST_NAME]}-{digest}"


def _scale(name: str) -> Scale:
    if name not in SCALES:
        raise ArgumentError(f"--scale {name}: must be one of {', '.join(SCALES)}")
    return SCALES[name]


def _prepare(
    videos: Sequence[Path],
    output: Path,
    scale: str,
    start: int,
    frames: int | None,
    size: str | None,
    epochs: int | None,
    decoder_size: int | None,
) -> tuple[Scale, list[Clip]]:
    """The scale with what was asked for in its place, and the videos at it."""
    given: dict[str, Any] = {"epochs": epochs, "decoder_size": decoder_size}
    chosen = _scale(scale)
    settings = replace(chosen.settings, **{name: value for name, value in given.items() if value is not None})
    asked = parse_size(size) if size else None
    width, height = asked or (chosen.width, chosen.height)
    if 2 * height != width:
        raise ArgumentError(f"--size {size}: a panorama must be 2:1, as {2 * height}x{height}")
    clips = [Clip.open(video, start=start, frames=frames, size=asked) for video in videos]
    clips = [replace(clip, width=width, height=height) for clip in clips]
    if frames is None and chosen.frames is not None:
        clips = [replace(clip, frames=min(clip.frames, chosen.frames)) for clip in clips]
    _make_folder(output)
    return replace(chosen, settings=settings, width=width, height=height), clips


def _make_folder(output: Path) -> None:
    """Made, or one whose tables can be gone on with."""
    from nerv360.experiments.reproduce import check_tables

    make_folder(output)
    check_tables(output)


def _choose(runs: "Sequence[Run]", only: str | None) -> "list[Run]":
    """The runs of one row, or all; every one of them can be built."""
    from nerv360.models.base import configure

    chosen = [run for run in runs if only in (None, run.variant)]
    if not chosen:
        raise ArgumentError(f"--only {only}: must be one of {', '.join(dict.fromkeys(run.variant for run in runs))}")
    wrong: dict[str, NoSuchDecoder] = {}
    for run in chosen:
        try:
            configure(run.config, run.clip.width, run.clip.height)
        except NoSuchDecoder as error:
            wrong[run.variant] = error
    if wrong:
        largest = max(wrong, key=lambda variant: wrong[variant].nearest)
        raise ArgumentError(f"{largest}: {wrong[largest]}")
    return chosen


def _carry_out(runs: "Sequence[Run]", folder: Path, device: str | None) -> "list[Row]":
    """The rows of all runs, each under a progress bar of its own."""
    from nerv360.api import choose_device
    from nerv360.experiments.reproduce import finished, fit_run, measure_run

    rows, on_device = [], choose_device(device)
    for number, run in enumerate(runs, start=1):
        console.print(f"{number} of {len(runs)}: {run.variant}, {name_of(run.clip.path)}, seed {run.config.seed}")
        row = finished(run, folder)
        if row is None:
            try:
                with progress_bar() as on_progress:
                    fit_run(run, folder, on_device, on_progress)
                    row = measure_run(run, folder, on_device, on_progress)
            except OutOfMemory as error:
                console.print(f"left out: {error}", markup=False)
                continue
        rows.append(row)
    if not rows:
        raise OutOfMemory("no network of these fits the memory; take a smaller --size, --decoder-size or --scale")
    return rows


def _parse_seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise ArgumentError(f"--seeds {text}: must be whole numbers, as 0,1,2") from None
