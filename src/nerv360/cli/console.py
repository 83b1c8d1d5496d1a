"""What the commands print: tables and progress bars. No PyTorch in here."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from nerv360.errors import Nerv360Error
from nerv360.progress import FitUpdate, OnProgress, Update

if TYPE_CHECKING:
    from nerv360.evaluation.evaluate import Evaluation, Quality

console = Console()  # results
remarks = Console(stderr=True)  # progress, and what is left out
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
def progress_bar(quiet: bool = False) -> Iterator[OnProgress]:
    """A bar on standard error for the stage that the work is at; an error leaves none of it behind."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=remarks, disable=quiet) as bar:
        try:
            yield _StageBar(bar)
        except Nerv360Error:
            bar.live.transient = True
            raise


class _StageBar:
    """Draws updates: one bar, which begins anew with every stage."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.stage: str | None = None
        self.bitrate, self.next_estimate_s = "", time.monotonic() + ESTIMATE_SECONDS

    def __call__(self, update: Update) -> None:
        if self.stage is None:
            self.task = self.bar.add_task(update.stage, note="")
        elif self.stage != update.stage:
            self.bar.reset(self.task, description=update.stage, note="")
        self.stage = update.stage
        note = self._note(update) if isinstance(update, FitUpdate) else ""
        self.bar.update(self.task, completed=update.done, total=update.total, note=note)

    def _note(self, update: FitUpdate) -> str:
        """Loss, PSNR, and the rate, which is estimated in at most a twentieth of the time."""
        began = time.monotonic()
        if began > self.next_estimate_s:
            self.bitrate = f"about {update.estimate_bitrate() / 1000:.0f} kbit/s"
            took = time.monotonic() - began
            self.next_estimate_s = time.monotonic() + max(ESTIMATE_SECONDS, 20 * took)
        return f"loss {update.loss:.2f}  PSNR {update.psnr_db:.2f} dB  {self.bitrate}"
