"""The tables of results: one row a run, under a line of names; and what a row says of where it was made."""

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path


def append(table: Path, row: Mapping[str, object]) -> None:
    """Add a row; a new table begins with the names."""
    new = not table.exists()
    with table.open("a") as file:
        if new:
            print(*row, sep="\t", file=file)
        print(*row.values(), sep="\t", file=file)


def commit() -> str:
    """The commit that is checked out."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
