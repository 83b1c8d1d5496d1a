"""`nerv360 reproduce all`: what a machine shows of the paper in a given time."""

import re
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from nerv360.claims import claim
from nerv360.cli.console import console, progress_bar
from nerv360.cli.options import Device
from nerv360.cli.reproduce_runs import (
    carry_out,
    chosen_scale,
    make_results_folder,
    measure_costs,
    open_clips,
    setting_name,
    show_table,
)
from nerv360.config import Scale
from nerv360.errors import ArgumentError
from nerv360.progress import tracked
from nerv360.types import BT709

__all__ = ["everything"]

COMPARED = ("nerv360", "hnerv")
UNITS = {"s": 1, "min": 60, "h": 3600}


def everything(
    video: Annotated[
        Path | None,
        typer.Argument(help="An equirectangular video, 2:1; by default, a procedural one.", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of files, rows and tables.")
    ] = Path("reproduction"),
    scale: Annotated[str, typer.Option(help="small (for a CPU), paper-2.2m or paper-17.6m.")] = "paper-2.2m",
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Time to plan for, as 25min, 90s or 2h. It is no limit.")
    ] = "25min",
    frames: Annotated[int, typer.Option(metavar="N", help="Number of frames.", min=1, max=100_000)] = 8,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Size of the panoramas; by default, the scale's.")
    ] = None,
    decoder_size: Annotated[int | None, typer.Option(help="By default, the scale's.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    repeats: Annotated[int, typer.Option(help="Measurements of speed; their mean counts.", min=1, max=1000)] = 5,
    device: Device = None,
) -> None:
    """Speed and memory of the three networks; then NeRV360 and HNeRV, fitted for as long as the time allows.

    Rows are written as they come. Ended in the middle, the same command goes on where it was; on another machine, too,
    with a copy of the folder.
    """
    began = time.monotonic()
    budget_s = parse_duration(budget, "--budget")
    chosen = chosen_scale(scale, size, None, decoder_size)
    if video is None:
        _check_drawable(chosen)
    make_results_folder(output)
    from nerv360.api import choose_device
    from nerv360.evaluation.results_store import device_name
    from nerv360.experiments.benchmark import PHASES
    from nerv360.experiments.plan import planned_runs
    from nerv360.experiments.reproduce import NAMES, Run
    from nerv360.experiments.tables import costs_table, table1

    on_device = choose_device(device)
    console.print(f"on {device_name(on_device)}", highlight=False)
    configs = [chosen.settings.replace(model=model, seed=seed) for model in NAMES]
    costs = measure_costs(configs, [(chosen.width, chosen.height)], PHASES, output, repeats, device)
    shown = f"{chosen.width}x{chosen.height}-{chosen.settings.architecture.decoder_size}"
    show_table(costs_table(costs), output / f"all-speed-{shown}", None)

    (clip,) = open_clips([video or _procedural(chosen, frames, output)], chosen, 0, frames, size)
    runs = [Run(NAMES[model], chosen.settings.replace(model=model, seed=seed), clip) for model in COMPARED]
    left_s = budget_s - (time.monotonic() - began)
    planned = planned_runs(runs, costs, left_s, budget_s, output, on_device)
    epochs = planned[0].config.optimisation.epochs
    console.print(f"{' and '.join(run.variant for run in planned)}: {epochs} epochs of {clip.frames} frames each")
    rows = carry_out(planned, output, device)
    left_out = [run.variant for run in runs if run.variant not in {row["variant"] for row in rows}]
    fitted = replace(chosen, settings=chosen.settings.replace(epochs=epochs))
    show_table(table1(rows, costs, left_out), output / f"all-{setting_name(fitted, [clip], [seed])}", None)


def parse_duration(text: str, option: str) -> float:
    """Seconds of 25min, 90s or 2h. Raises ArgumentError."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)\s?(s|min|h)", text.strip())
    if not match or not float(match[1]):
        raise ArgumentError(f"{option} {text}: must be a time, as 25min, 90s or 2h")
    return float(match[1]) * UNITS[match[2]]


def _check_drawable(scale: Scale) -> None:
    if not 64 <= scale.width <= 8192:
        raise ArgumentError(f"--size {scale.width}x{scale.height}: the procedural clip has 64x32 to 8192x4096")


def _procedural(scale: Scale, frames: int, folder: Path) -> Path:
    """The procedural clip of that size, drawn into the folder unless it is there."""
    from nerv360.video.synthetic import render_frame
    from nerv360.video.writer import write_frames

    path = folder / f"procedural-{scale.width}x{scale.height}-{frames}.mp4"
    if not path.exists():
        pictures = (render_frame(k, width=scale.width, height=scale.height, frames=frames) for k in range(frames))
        with claim(path), progress_bar() as on_progress:
            write_frames(path, tracked(pictures, "rendering", frames, on_progress), Fraction(25), BT709)
    return path
