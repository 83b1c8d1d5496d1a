"""Tables of results: tab-separated rows that are only ever added, each with what, when and on what it was made."""

import csv
import io
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from nerv360 import __version__
from nerv360.errors import OutputError
from nerv360.evaluation.evaluate import Evaluation
from nerv360.storage import open_text

__all__ = [
    "PROVENANCE",
    "QUALITY",
    "Row",
    "append_row",
    "check_columns",
    "device_name",
    "provenance",
    "quality_columns",
    "read_rows",
    "read_text",
]

Row = Mapping[str, str]
PROVENANCE = ("device", "torch", "python", "commit", "date", "command")
QUALITY = tuple(f"{name}_{measure}" for measure in ("psnr_db", "ms_ssim") for name in ("vp0", "vp1", "mean"))


def read_rows(table: Path) -> list[dict[str, str]]:
    """The whole rows of a table of results; none where there is no table. Raises OutputError."""
    reader = csv.DictReader(io.StringIO(read_text(table), newline=""), delimiter="\t")
    return [row for row in reader if None not in row.values() and None not in row]


def append_row(table: Path, row: Row) -> None:
    """Add a row at the end; a new table begins with the names of its columns. Raises OutputError."""
    before = read_text(table)
    check_columns(table, before, list(row))
    try:
        with open(table, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), delimiter="\t", lineterminator="\n")
            if not before:
                writer.writeheader()
            elif not before.endswith("\n"):  # of a row that a full disk or a kill has cut
                file.write("\n")
            writer.writerow(row)
    except OSError as error:
        raise OutputError(f"{table}: cannot be written: {error.strerror}") from None


def read_text(table: Path) -> str:
    """All of a table; empty where there is none. Raises OutputError."""
    try:
        with open_text(table, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise OutputError(f"{table}: cannot be read: {error.strerror}") from None


def check_columns(table: Path, contents: str, columns: Sequence[str]) -> None:
    """Raises OutputError where a table has other columns."""
    if contents and contents.partition("\n")[0].split("\t") != list(columns):
        raise OutputError(f"{table}: has other columns, of another version; take another folder (--output)")


def quality_columns(result: Evaluation) -> Row:
    """What a row says of a measurement's quality."""
    return {
        **{f"{name.lower()}_psnr_db": f"{quality.psnr_db:.3f}" for name, quality in result.trajectories.items()},
        "mean_psnr_db": f"{result.mean.psnr_db:.3f}",
        **{f"{name.lower()}_ms_ssim": f"{quality.ms_ssim:.5f}" for name, quality in result.trajectories.items()},
        "mean_ms_ssim": f"{result.mean.ms_ssim:.5f}",
        "ms_ssim_window": str(result.ms_ssim_window),
        "ws_psnr_db": f"{result.ws_psnr_db:.3f}",
    }


def provenance(device: torch.device) -> Row:
    """By what, when and from which code a row was made."""
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": f"{__version__} {COMMIT}".strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["nerv360", *sys.argv[1:]]),
    }


def _commit() -> str:
    """Of the code that runs, where it is a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


COMMIT = _commit()  # now: a checkout may move during hours of fitting


def device_name(device: torch.device) -> str:
    """Of the GPU or, with the number of threads, of the processor."""
    if device.type == "cpu":
        return f"{_processor()}, {torch.get_num_threads()} threads"
    return str(torch.get_device_module(device).get_device_name(device))


def _processor() -> str:
    """The processor's name on Linux; rows of speed count for one processor only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, f"CPU {platform.machine()}")
