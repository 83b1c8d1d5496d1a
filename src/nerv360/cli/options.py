"""Options that several commands have, and the parsing of them. No PyTorch in here."""

import re
from pathlib import Path
from typing import Annotated

import typer

from nerv360.cli.console import hush
from nerv360.cli.event_log import log_to
from nerv360.errors import ArgumentError, OutputError
from nerv360.geometry.viewport import Viewport, read_trajectory
from nerv360.types import EYES
from nerv360.video.reading import BOTH, EYE_NAMES, PROJECTIONS, STEREO, Layout

Source = Annotated[
    str, typer.Argument(help="A .nerv360 file, a manifest of its parts (.json), or the URL of one.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Go on with a video that is not 2:1.")]
Projection = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help=f"Projection of the pictures: {', '.join(PROJECTIONS)}; by default as the file says."
    ),
]
Stereo = Annotated[
    str | None,
    typer.Option(metavar="NAME", help=f"How two eyes lie: {', '.join(STEREO)}; by default as the file says."),
]
Eye = Annotated[
    str | None,
    typer.Option(metavar="NAME", help=f"What is taken of a stereo video: {', '.join(EYES)} or {BOTH}, if it can be."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=hush, help="Print nothing but errors.")]
Log = Annotated[
    Path | None,
    typer.Option(metavar="FILE", callback=log_to, help="Append progress and results to a file, as JSON lines."),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="For networks: float, float16 (on cuda, by default) or int8 (openvino; faster for the paper's).",
        show_default=False,
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; by default, what there is.")]
MaxMemory = Annotated[
    str | None, typer.Option(metavar="BYTES", help="What decoding may take: 500M, 4G; by default what is free.")
]
CaptionFiles = Annotated[
    list[Path] | None,
    typer.Option("--captions", metavar="VTT", help="WebVTT; once for every language, which film.de.vtt tells."),
]


def check_device(device: str | None) -> None:
    if device not in (None, "cpu", "cuda"):
        raise ArgumentError(f"--device {device}: must be cpu or cuda")


def parse_memory(text: str | None) -> int | None:
    return None if text is None else int(parse_amount(text, "--max-memory", "B"))


def check_eye(eye: str | None, held: int) -> None:
    """Raises ArgumentError where an eye of a .nerv360 file is asked for, or `both`, that is not in it."""
    if eye not in (None, *EYE_NAMES):
        raise ArgumentError(f"--eye {eye}: must be {', '.join(EYE_NAMES)}")
    if held == 1 and eye not in (None, EYES[0]):
        raise ArgumentError(f"--eye {eye}: the file holds one eye, which is called {EYES[0]}; leave it out")


def one_eye(projection: str | None, stereo: str | None, eye: str | None) -> Layout:
    """How a video is read by a command that takes one eye. Raises ArgumentError."""
    if eye == BOTH:
        raise ArgumentError(f"--eye {BOTH}: one eye is taken here; give {' or '.join(EYES)}")
    return Layout(projection, stereo, eye)


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if not match:
        raise ArgumentError(f"{option} {text}: must be WIDTHxHEIGHT, as 1920x1080")
    return int(match[1]), int(match[2])


def parse_amount(text: str, option: str, unit: str) -> float:
    """A number with k, M or G, and perhaps the unit."""
    match = re.fullmatch(rf"(\d{{1,12}}(?:\.\d{{1,6}})?)\s*([kKMG]?){unit}?", text.strip())
    if not match or not float(match[1]):
        raise ArgumentError(f"{option} {text}: must be a number, as 500k or 2M")
    return float(match[1]) * {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[match[2]]


def parse_pair(text: str, option: str, separator: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in text.split(separator))
    except ValueError:
        raise ArgumentError(f"{option} {text}: must be two numbers, as 10{separator}20") from None
    return first, second


def read_views(path: Path, look: Viewport, frames: int) -> list[Viewport]:
    """A view of each frame, of a trajectory. Raises ArgumentError, also where there are more or fewer."""
    views = read_trajectory(path, look)
    if len(views) != frames:
        raise ArgumentError(f"{path}: {len(views)} views for {frames} frames; give one for each")
    return views


def parse_range(text: str, option: str) -> tuple[float, float]:
    return parse_pair(text, option, ":")


def parse_frames(text: str | None, frames: int) -> range:
    """A:B, A: or :B -> range(A, B) within the video."""
    match = re.fullmatch(r"(\d{0,9}):(\d{0,9})", text or ":")
    if not match:
        raise ArgumentError(f"--frames {text}: must be A:B, as 0:10")
    chosen = range(int(match[1] or 0), int(match[2]) if match[2] else frames)
    if not 0 <= chosen.start < chosen.stop <= frames:
        raise ArgumentError(f"--frames {text}: the video has frames 0:{frames}")
    return chosen


def make_folder(path: Path) -> None:
    """Raises OutputError where there can be no such folder."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: the folder cannot be made: {error.strerror}") from None
