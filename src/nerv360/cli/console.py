"""What the commands print: tables and progress bars. No PyTorch in here."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from nerv360.config import EncodingConfig
from nerv360.errors import Nerv360Error

if TYPE_CHECKING:
    from nerv360.codec.encoder import Report
    from nerv360.evaluation.evaluate import Evaluation, Quality
    from nerv360.video.clip import Clip

console = Console()
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
