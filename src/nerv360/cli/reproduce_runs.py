"""What the commands of `nerv360 reproduce` share: from their options to runs, and from runs to rows and tables."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

__all__ = [
    "LONGEST_NAME",
    "carry_out",
    "choose_runs",
    "chosen_scale",
    "find_scale",
    "make_results_folder",
    "measure_costs",
    "open_clips",
    "parse_seeds",
    "prepare",
    "setting_name",
    "show_table",
]

LONGEST_NAME = 80  # of videos or sizes, in the name of a table


def measure_costs(
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


def show_table(table: "Table", path: Path, only: str | None) -> None:
    """On the terminal, and a whole table as Markdown and HTML too."""
    from nerv360.evaluation.tables import markdown, write_table

    print(markdown(table))
    if only is None:
        write_table(table, path)
        console.print(f"{path}.md, {path}.html")


def setting_name(scale: Scale, clips: Sequence[Clip], seeds: Sequence[int]) -> str:
    """For the name of a table: one of another setting, or of other videos, gets another."""
    videos = "-".join(f"{Path(name_of(clip.path)).stem}-{clip.start}-{clip.frames}" for clip in clips)
    if len(videos) > LONGEST_NAME:
        videos = f"{videos[:LONGEST_NAME]}-and-more"
    settings, drawn = scale.settings, "-".join(map(str, seeds))
    digest = hashlib.sha256(" ".join(clip.fingerprint() for clip in clips).encode()).hexdigest()[:6]
    size = f"{scale.width}x{scale.height}"
    scaled = f"{settings.architecture.decoder_size}-{settings.optimisation.epochs}"
    return f"{videos}-{size}-{scaled}-seed-{drawn[:LONGEST_NAME]}-{digest}"


def find_scale(name: str) -> Scale:
    """The scale of that name. Raises ArgumentError."""
    if name not in SCALES:
        raise ArgumentError(f"--scale {name}: must be one of {', '.join(SCALES)}")
    return SCALES[name]


def prepare(
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
    chosen = chosen_scale(scale, size, epochs, decoder_size)
    clips = open_clips(videos, chosen, start, frames, size)
    make_results_folder(output)
    return chosen, clips


def chosen_scale(scale: str, size: str | None, epochs: int | None, decoder_size: int | None) -> Scale:
    """The scale with what was asked for in its place. Raises ArgumentError."""
    given: dict[str, Any] = {"epochs": epochs, "decoder_size": decoder_size}
    chosen = find_scale(scale)
    settings = chosen.settings.replace(**{name: value for name, value in given.items() if value is not None})
    width, height = parse_size(size) if size else (chosen.width, chosen.height)
    if 2 * height != width:
        raise ArgumentError(f"--size {size}: a panorama must be 2:1, as {2 * height}x{height}")
    return replace(chosen, settings=settings, width=width, height=height)


def open_clips(videos: Sequence[Path], scale: Scale, start: int, frames: int | None, size: str | None) -> list[Clip]:
    """The videos at a scale; one that is not 2:1 is stretched only to a size that was asked for."""
    asked = parse_size(size) if size else None
    clips = [Clip.open(video, start=start, frames=frames, size=asked) for video in videos]
    clips = [replace(clip, width=scale.width, height=scale.height) for clip in clips]
    if frames is None and scale.frames is not None:
        clips = [replace(clip, frames=min(clip.frames, scale.frames)) for clip in clips]
    return clips


def make_results_folder(output: Path) -> None:
    """Made, or one whose tables can be gone on with."""
    from nerv360.experiments.reproduce import check_tables

    make_folder(output)
    check_tables(output)


def choose_runs(runs: "Sequence[Run]", only: str | None) -> "list[Run]":
    """The runs of one row, or all; every one of them can be built."""
    from nerv360.training.configure import configure

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


def carry_out(runs: "Sequence[Run]", folder: Path, device: str | None) -> "list[Row]":
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
                console.print(f"left out: {error}")
                continue
        rows.append(row)
    if not rows:
        raise OutOfMemory("no network of these fits the memory; take a smaller --size, --decoder-size or --scale")
    return rows


def parse_seeds(text: str) -> list[int]:
    """The whole numbers of A,B,... Raises ArgumentError."""
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise ArgumentError(f"--seeds {text}: must be whole numbers, as 0,1,2") from None
