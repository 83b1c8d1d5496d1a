"""`nerv360 compare`: our files beside classical codecs. A finished run is not run again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nerv360.bitstream.container import Container
from nerv360.bitstream.manifest import files_of
from nerv360.claims import check_output
from nerv360.cli.console import console, progress_bar, remarks
from nerv360.cli.options import Eye, Projection, Stereo, make_folder, one_eye, parse_size
from nerv360.config import EncodingConfig, preset_for, presets_of
from nerv360.errors import ArgumentError, MissingExtra
from nerv360.geometry.viewport import Viewport
from nerv360.models.registry import DEFAULT_MODEL, MODELS
from nerv360.progress import part_of
from nerv360.video.clip import Clip

if TYPE_CHECKING:
    from nerv360.evaluation.anchors import Anchor
    from nerv360.evaluation.compare import Comparison
    from nerv360.evaluation.results_store import Row

__all__ = ["compare"]

TABLES = ("runs.tsv", "table.md", "table.html", "bd-rate.md", "bd-rate.html", "curves.html", "curves.png")
Files = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="A .nerv360 file of it; may be given several times.")
]
RateWeights = Annotated[
    str | None, typer.Option(metavar="A,B,...", help="Encode it here with these, as with encode --rate-weight.")
]
PresetName = Annotated[str, typer.Option(help=f"Of those encodings: {', '.join(presets_of(DEFAULT_MODEL))}.")]
AnchorNames = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="Among x264, x265, svt-av1, vp9, and slower x264-veryslow, x265-veryslow, svt-av1-preset2, vp9-cpu0; "
        "by default all that PyAV has here.",
    ),
]
KeyInterval = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Of the classical codecs' key frames; by default they have one where a segment of FILE begins.",
        min=0.001,
    ),
]
ViewSize = Annotated[
    str | None, typer.Option(metavar="WxH", help="By default 5/16 of the panorama's width, the file's own view.")
]


def compare(
    video: Annotated[Path, typer.Argument(help="A 360-degree video.", show_default=False)],
    file: Files = None,
    rate_weights: RateWeights = None,
    preset: PresetName = MODELS[DEFAULT_MODEL].default_preset,
    anchors: AnchorNames = None,
    key_interval: KeyInterval = None,
    start: Annotated[int, typer.Option(metavar="K", help="First frame, from 0.")] = 0,
    frames: Annotated[int | None, typer.Option(metavar="N", help="Number of frames; by default all.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Scale the panorama to this size.")] = None,
    projection: Projection = None,
    stereo: Stereo = None,
    eye: Eye = None,
    viewport: ViewSize = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of files, rows, tables and curves.")
    ] = Path("compare"),
) -> None:
    """Compare .nerv360 files with x264, x265, SVT-AV1 and VP9 at several rates: quality, bytes, speed, BD-rate.

    Quality is that of views, and of the panorama; bytes are those of files on disk. Interrupt it as you like: the same
    command goes on where it was.
    """
    for package in ("bjontegaard", "matplotlib"):
        if find_spec(package) is None:
            raise MissingExtra(f"nerv360 compare needs {package}: pip install 'nerv360[compare]'")
    targets = _parse_targets(rate_weights, preset)
    layout, asked = one_eye(projection, stereo, eye), parse_size(size) if size else None
    clip = Clip.open(video, start=start, frames=frames, size=asked, layout=layout)
    width, height = parse_size(viewport) if viewport else preset_for(DEFAULT_MODEL, preset).training_view(clip.width)
    segment_starts = [_check_file(path, clip) for path in file or []]
    from nerv360.evaluation.compare import Comparison, regular_key_frames, shared_key_frames
    from nerv360.training.losses import MS_SSIM_LEAST_SIDE

    if min(width, height) < MS_SSIM_LEAST_SIDE:
        raise ArgumentError(f"--viewport {width}x{height}: MS-SSIM needs sides of at least {MS_SSIM_LEAST_SIDE} pixels")
    if key_interval is None:
        key_frames = shared_key_frames([*segment_starts, *[[0]] * len(targets)])
    else:
        key_frames = regular_key_frames(clip, key_interval)
    chosen, left_out = _choose_anchors(anchors)
    if not (chosen or targets or file):
        raise ArgumentError("compare: nothing to compare; give --file, --rate-weights or --anchors")
    make_folder(output)
    for name in TABLES:
        check_output(output / name, clip.path, *(each for path in file or [] for each in files_of(path)))
    comparison = Comparison(clip, Viewport(width=width, height=height), key_frames, output)
    comparison.check_table()
    encoded = [
        _encode(f"{preset}, rate weight {config.rate_target.rate_weight:g}", config, clip, output) for config in targets
    ]
    curves = _measure(comparison, chosen, [*((path, path.name, None) for path in file or []), *encoded])
    _show(curves, left_out, output)


def _show(curves: "Mapping[str, Sequence[Row]]", left_out: Mapping[str, str], folder: Path) -> None:
    """Tables on the terminal and as files, and the curves."""
    from nerv360.evaluation.rd_curves import bd_table, runs_table, write_curves
    from nerv360.evaluation.tables import markdown, write_table

    tables = {"table": runs_table(curves, left_out), "bd-rate": bd_table(curves)}
    for name, table in tables.items():
        print(markdown(table))
        write_table(table, folder / name)
    write_curves(curves, list(tables.values()), folder / "curves")
    console.print(f"{folder / 'curves.html'}, curves.png, table.md, bd-rate.md, runs.tsv")


def _parse_targets(rate_weights: str | None, preset: str) -> list[EncodingConfig]:
    if preset not in presets_of(DEFAULT_MODEL):
        raise ArgumentError(f"--preset {preset}: must be one of {', '.join(presets_of(DEFAULT_MODEL))}")
    try:
        weights = [float(weight) for weight in rate_weights.split(",")] if rate_weights else []
    except ValueError:
        raise ArgumentError(f"--rate-weights {rate_weights}: must be numbers, as 1,2,4") from None
    return [preset_for(DEFAULT_MODEL, preset).replace(rate_weight=weight) for weight in weights]


def _check_file(path: Path, clip: Clip) -> list[int]:
    """The first frames of a file's segments. Raises ArgumentError for a file that is not of such a clip."""
    with Container(path) as container:
        container.verify()
        header = container.header
        starts = [segment.first_frame for segment in container.segments]
    if header.eyes is not None:
        raise ArgumentError(f"{path}: holds both eyes, and one is compared; encode it with --eye left, or right")
    if (header.width, header.height, header.frames) != (clip.width, clip.height, clip.frames):
        raise ArgumentError(
            f"{path}: is {header.width}x{header.height}, {header.frames} frames, the clip {clip.width}x{clip.height}, "
            f"{clip.frames}; give --size {header.width}x{header.height} --frames {header.frames}, and its --start"
        )
    return starts


def _choose_anchors(names: str | None) -> "tuple[list[Anchor], dict[str, str]]":
    """Those asked for, or all there are; and why the others are left out."""
    from nerv360.evaluation.anchors import ANCHORS, is_available

    wanted = list(dict.fromkeys(names.split(","))) if names else list(ANCHORS)
    for name in wanted:
        if name not in ANCHORS:
            raise ArgumentError(f"--anchors {name}: must be among {', '.join(ANCHORS)}")
    missing = {name: f"PyAV has no {ANCHORS[name].encoder} here" for name in wanted if not is_available(ANCHORS[name])}
    for name, reason in missing.items():
        if names:
            raise ArgumentError(f"--anchors {name}: {reason}; leave it out, or install PyAV from its own wheels")
        console.print(f"left out: {name}: {reason}")
    return [ANCHORS[name] for name in wanted if name not in missing], missing


def _encode(settings: str, config: EncodingConfig, clip: Clip, folder: Path) -> tuple[Path, str, float]:
    """Our file for one target, what it is called, and the seconds of its encoding."""
    from nerv360.api import choose_device
    from nerv360.experiments.reproduce import Run, file_of, fit_run

    console.print(f"{config.architecture.model}: {settings}")
    run = Run(config.architecture.model, config, clip)
    with progress_bar() as on_progress:
        seconds = fit_run(run, folder, choose_device(None), on_progress)
    return file_of(run, folder), settings, seconds


def _measure(
    comparison: "Comparison",
    anchors: "Sequence[Anchor]",
    files: Sequence[tuple[Path, str, float | None]],  # with what they are called and the seconds of their encoding
) -> "dict[str, list[Row]]":
    """The rows of every codec, from the least bytes to the most."""
    curves: dict[str, list[Row]] = defaultdict(list)
    points = [(anchor, crf) for anchor in anchors for crf in anchor.crfs]
    frames, done = comparison.clip.frames, 0
    total = frames * (2 * len(points) + len(files))

    def keep(row: "Row") -> None:
        if row not in curves[row["codec"]]:  # a file may be given twice
            curves[row["codec"]].append(row)
        figures = f"{int(row['bytes']):,} bytes, {float(row['mean_psnr_db']):.2f} dB"
        remarks.print(f"{row['codec']}: {row['settings']}: {figures}", soft_wrap=True)

    with progress_bar() as on_progress:
        for anchor, crf in points:
            keep(comparison.anchor_row(anchor, crf, part_of(on_progress, "comparing", done, total)))
            done += 2 * frames
        for path, settings, seconds in files:
            keep(comparison.file_row(path, settings, seconds, part_of(on_progress, "comparing", done, total)))
            done += frames
    return {codec: sorted(rows, key=lambda row: int(row["bytes"])) for codec, rows in curves.items()}
