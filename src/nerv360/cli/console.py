"""What the commands print: tables and progress bars. No PyTorch in here."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from nerv360.cli.event_log import LoggedProgress, log_event
from nerv360.errors import Nerv360Error
from nerv360.progress import FitUpdate, OnProgress, Update, both, ignore

if TYPE_CHECKING:
    from nerv360.evaluation.evaluate import Evaluation, Quality

console = Console(markup=False, emoji=False)  # results; names of files may look like markup
remarks = Console(stderr=True, markup=False, emoji=False)  # progress, and what is left out
ESTIMATE_SECONDS = 20.0
LINE_SECONDS = 10.0
INTERRUPTED = 130  # the exit code that typer gives after Ctrl-C


def run(command: Callable[[], object]) -> None:
    """Call a command. Bad input, or an output that takes no more, is one line on standard error and exit code 2."""
    _fill_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files are not always text
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except Nerv360Error as error:
        _fail(str(error))
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else what is left is tried again at the end
        _fail(f"{error.filename or 'standard output'}: cannot be written: {error.strerror}")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print("interrupted: an encoding goes on where it was when called again", file=sys.stderr)
        raise


def _fill_standard_streams() -> None:
    """Where a shell has closed some (`>&-`), the files that are opened next would get what is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")


def _fail(why: str) -> NoReturn:
    log_event("error", message=why)
    with suppress(OSError):
        print(f"error: {why}".replace("\n", " "), file=sys.stderr)
    sys.exit(2)


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
    table.add_row("panorama", f"{result.ws_psnr_db:.2f} dB WS-PSNR", f"{result.panoramas} pictures", "")
    table.add_row(
        "rate", f"{result.size:,} bytes", f"{result.bitrate / 1000:.1f} kbit/s", f"{result.bits_per_pixel:.4f} bpp"
    )
    table.add_row("decoding", f"{result.decode_fps:.1f} pictures/s", "", "")
    return table


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[OnProgress]:
    """A bar on standard error for the stage that the work is at; an error leaves none of it behind.

    Where that is no terminal, a line every ten seconds. All goes to the log, too.
    """
    if not remarks.is_terminal:
        yield both(ignore if quiet else _StageLines(), LoggedProgress())
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=remarks, disable=quiet) as bar:
        try:
            yield both(_StageBar(bar), LoggedProgress())
        except Nerv360Error:
            bar.live.transient = True
            raise


class _StageBar:
    """Draws updates: one bar, which begins anew with every stage."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.stage: str | None = None
        self.note = _Note()

    def __call__(self, update: Update) -> None:
        if self.stage is None:
            self.task = self.bar.add_task(update.stage, note="")
        elif self.stage != update.stage:
            self.bar.reset(self.task, description=update.stage, note="")
        self.stage = update.stage
        self.bar.update(self.task, completed=update.done, total=update.total, note=self.note(update))


class _StageLines:
    """Prints updates: a line every ten seconds."""

    def __init__(self) -> None:
        self.stage: str | None = None
        self.began_s = self.next_s = time.monotonic()
        self.next_s += LINE_SECONDS
        self.note = _Note()

    def __call__(self, update: Update) -> None:
        now = time.monotonic()
        if update.stage != self.stage:
            self.stage, self.began_s, self.began_at = update.stage, now, update.done
        if now < self.next_s:
            return
        self.next_s = now + LINE_SECONDS
        done, left = update.done - self.began_at, update.total - update.done
        left_s = f", {left * (now - self.began_s) / done:.0f} s left of it" if done else ""
        note = self.note(update)
        remarks.print(
            f"{update.stage}: {update.done} of {update.total} ({update.done / max(1, update.total):.0%}){left_s}"
            + (f"  {note}" if note else ""),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class _Note:
    """What is told of a fit beside its steps."""

    def __init__(self) -> None:
        self.bitrate, self.next_estimate_s = "", time.monotonic() + ESTIMATE_SECONDS

    def __call__(self, update: Update) -> str:
        """Loss, PSNR, and the rate, which is estimated in at most a twentieth of the time."""
        if not isinstance(update, FitUpdate):
            return ""
        began = time.monotonic()
        if began > self.next_estimate_s:
            self.bitrate = f"about {update.estimate_bitrate() / 1000:.0f} kbit/s"
            took = time.monotonic() - began
            self.next_estimate_s = time.monotonic() + max(ESTIMATE_SECONDS, 20 * took)
        return f"loss {update.loss:.2f}  PSNR {update.psnr_db:.2f} dB  {self.bitrate}"


def hush(quiet: bool) -> bool:
    """Print nothing but errors, if so."""
    console.quiet = remarks.quiet = quiet
    return quiet
