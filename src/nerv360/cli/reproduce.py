"""`nerv360 reproduce`: the paper's tables and figure, run by run. A finished run is not run again."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nerv360.cli.console import console, progress_bar
from nerv360.cli.options import Device, parse_size
from nerv360.cli.reproduce_all import everything
from nerv360.cli.reproduce_runs import (
    LONGEST_NAME,
    carry_out,
    choose_runs,
    find_scale,
    make_results_folder,
    measure_costs,
    parse_seeds,
    prepare,
    setting_name,
    show_table,
)
from nerv360.errors import ArgumentError
from nerv360.progress import tracked

if TYPE_CHECKING:
    from nerv360.evaluation.results_store import Row

app = typer.Typer(
    no_args_is_help=True,
    help="The paper's experiments: every network of a table fitted, written, read back and measured. "
    "Interrupt as you like: finished runs are kept in the output folder, and are not run again.",
)

app.command("all")(everything)

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
    each = parse_seeds(seeds)
    chosen, clips = prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    from nerv360.experiments.benchmark import PHASES
    from nerv360.experiments.reproduce import equal_time, table1_runs, trainable
    from nerv360.experiments.tables import table1 as render

    everything = table1_runs(chosen.settings, clips, each)
    runs = choose_runs(everything, only)
    compared = runs if budget == "steps" else everything
    configs = list(dict.fromkeys(replace(run.config, seed=0) for run in compared))
    costs = measure_costs(configs, [(chosen.width, chosen.height)], PHASES, output, repeats, device)
    if too_large := dict.fromkeys(run.variant for run in runs if not trainable(run, costs)):
        console.print(f"left out: {', '.join(too_large)}: training does not fit the memory; see --size, --decoder-size")
    wanted = list(dict.fromkeys(run.variant for run in runs))
    runs = equal_time(runs, costs) if budget == "time" else [run for run in runs if trainable(run, costs)]
    rows = carry_out(runs, output, device)
    left_out = [variant for variant in wanted if variant not in {row["variant"] for row in rows}]
    name = "table1" if budget == "steps" else "table1-time"
    show_table(render(rows, costs, left_out), output / f"{name}-{setting_name(chosen, clips, each)}", only)


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
    each = parse_seeds(seeds)
    chosen, clips = prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    from nerv360.experiments.reproduce import table2_runs
    from nerv360.experiments.tables import table2 as render

    runs = choose_runs(table2_runs(chosen.settings, clips, each), only)
    show_table(render(carry_out(runs, output, device)), output / f"table2-{setting_name(chosen, clips, each)}", only)


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
    chosen, clips = prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    from nerv360.api import choose_device
    from nerv360.experiments import figures
    from nerv360.experiments.reproduce import file_of, table1_runs

    for clip in clips:
        runs = choose_runs(table1_runs(chosen.settings, [clip], [seed]), only)
        done = {row["variant"] for row in carry_out(runs, output, device)}
        files = {run.variant: file_of(run, output) for run in runs if run.variant in done}
        if only is None:
            picture = output / f"figure4-{setting_name(chosen, [clip], [seed])}.png"
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
    chosen, clips = prepare(videos, output, scale, start, frames, size, epochs, decoder_size)
    from nerv360.api import choose_device
    from nerv360.experiments import figures
    from nerv360.experiments.reproduce import FREE_VIEWS, file_of, free_view_rows, free_view_runs
    from nerv360.experiments.tables import free_view_table

    for clip in clips:
        runs = choose_runs(free_view_runs(chosen.settings, [clip], [seed]), only)
        done = {row["variant"] for row in carry_out(runs, output, device)}
        files = {run.variant: file_of(run, output) for run in runs if run.variant in done}
        rows: list[Row] = []
        measured = (
            row for run in runs if run.variant in done for row in free_view_rows(run, output, choose_device(device))
        )
        with progress_bar() as on_progress:
            rows += tracked(measured, "measuring views", len(files) * len(FREE_VIEWS), on_progress)
        name = f"freeview-{setting_name(chosen, [clip], [seed])}"
        show_table(free_view_table(rows), output / name, only)
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
    settings = find_scale(scale).settings.replace(view_width=None, view_height=None)
    if decoder_size is not None:
        settings = settings.replace(decoder_size=decoder_size)
    if viewport is not None:
        width, height = parse_size(viewport, "--viewport")
        settings = settings.replace(view_width=width, view_height=height)
    sizes = [parse_size(size, "panorama") for size in panoramas.split(",")]
    for width, height in sizes:
        if not (96 <= width <= 16384 and 2 * height == width):
            raise ArgumentError(f"{width}x{height}: a panorama must be 2:1, 96x48 to 16384x8192, as 6144x3072")
    make_results_folder(output)
    from nerv360.experiments.benchmark import PHASES
    from nerv360.experiments.reproduce import NAMES
    from nerv360.experiments.tables import costs_table

    wanted = phases.split(",")
    if not set(wanted) <= set(PHASES):
        raise ArgumentError(f"--phases {phases}: must be among {', '.join(PHASES)}")
    configs = [settings.replace(model=model) for model in NAMES]
    shown = panoramas.replace(",", "-")[:LONGEST_NAME]
    setting = f"{shown}-{viewport or '5-16'}-{settings.architecture.decoder_size}-{'-'.join(dict.fromkeys(wanted))}"
    show_table(
        costs_table(measure_costs(configs, sizes, wanted, output, repeats, device)), output / f"speed-{setting}", None
    )
