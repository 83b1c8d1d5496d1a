"""What the commands share: tables, progress bars, and the parsing of their options. No PyTorch in here."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError, Nerv360Error, OutputError

if TYPE_CHECKING:
    from nerv360.codec.encoder import Report
    from nerv360.evaluation.evaluate import Evaluation, Quality
    from nerv360.video.clip import Clip

console = Console()
Source = Annotated[
    str, typer.Argument(help="A .nerv360 file, a manifest of its parts (.json), or the URL of one.", show_default=False)
]
ESTIMATE_SECONDS = 20.0
INTERRUPTED = 130  # the exit code that typer gives after Ctrl-C


def run(command: Callable[[], object]) -> None:
    """Call a command. Bad input is one line on standard error and exit code 2."""
    try:
        command()
    except Nerv360Error as error:
        print(f"error: {error}".replace("\n", " "), file=sys.stderr)
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print("interrupted: an encoding goes on where it was when called again", file=sys.stderr)
        raise


def evaluation_table(result: "Evaluation") -> Table:
    """The figures of an evaluation, as people read them."""
    window = f"window {result.ms_ssim_window}" if result.ms_ssim_window else "picture too small"
    table = Table(title=f"viewport {result.viewport}", title_justify="left")
    for column in ("", "PSNR RGB", "PSNR Y", f"MS-SSIM ({window})"):
        table.add_column(column, justify="left" if not column else "right")

    def row(name: str, quality: "Quality") -> None:
        table.add_row(name, f"{quality.psnr_db:.2f} dB", f"{quality.psnr_y_db:.2f} dB", f"{quality.ms_ssim:.4f}")

    for name, quality in result.trajectories.items():
        row(name, quality)
    row("mean", result.mean)
    if len(result.segments) > 1:
        table.add_section()
        for number, segment in enumerate(result.segments):
            last = segment.first_frame + segment.frames - 1
            row(f"segment {number}: frames {segment.first_frame}-{last}, {segment.size:,} bytes", segment.quality)
    table.add_section()
    table.add_row("panorama", f"{result.ws_psnr_db:.2f} dB WS-PSNR", f"{result.panoramas} frames", "")
    table.add_row(
        "rate", f"{result.size:,} bytes", f"{result.bitrate / 1000:.1f} kbit/s", f"{result.bits_per_pixel:.4f} bpp"
    )
    table.add_row("decoding", f"{result.decode_fps:.1f} frames/s", "", "")
    return table


@contextmanager
def progress(title: str, total: int, quiet: bool = False) -> Iterator[tuple[Progress, Any]]:
    """A bar with a count and the time left, on standard error; an error leaves none of it behind."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        try:
            yield bar, bar.add_task(title, total=total)
        except Nerv360Error:
            bar.live.transient = True
            raise


@contextmanager
def encoding_progress(clip: "Clip", config: EncodingConfig) -> Iterator[tuple["Report", Callable[[int, int], None]]]:
    """A bar with loss, PSNR, the rate that a file would have now, and the time left."""
    text = "loss {task.fields[loss]:.2f}  PSNR {task.fields[psnr]:.2f} dB  {task.fields[rate]}"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(text))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("fitting", total=clip.frames * config.epochs, loss=0.0, psnr=0.0, rate="")
        estimated, pause = 0.0, ESTIMATE_SECONDS

        def report(state: Any, total: int, fitting: Any) -> None:
            nonlocal estimated, pause
            if time.monotonic() - estimated > pause:
                from nerv360.codec.encoder import estimate_bytes

                began = time.monotonic()
                size = estimate_bytes(fitting, clip, config)
                estimated = time.monotonic()
                pause = max(ESTIMATE_SECONDS, 20 * (estimated - began))
                bitrate = 8 * size * float(clip.frame_rate) / clip.frames
                bar.update(task, rate=f"about {bitrate / 1000:.0f} kbit/s")
            bar.update(task, completed=state.step, total=total, loss=state.loss, psnr=state.psnr_db)

        def looked_at(done: int, total: int) -> None:
            looking = f"looking at camera, colours and motion, {100 * done // total} %"
            bar.update(task, description="fitting" if done == total else looking)

        yield report, looked_at


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


def check_folder(output: Path) -> None:
    """Raises OutputError where the output cannot be written, before any work is done for it."""
    folder = output.parent
    if not folder.is_dir():
        raise OutputError(f"{output}: cannot be written: no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{output}: cannot be written: no right to write in {folder}")
    if output.suffix and output.is_dir():
        raise OutputError(f"{output}: cannot be written: it is a folder")
