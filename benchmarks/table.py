"""The tables of results: one row a run, under a line of names."""

from collections.abc import Mapping
from pathlib import Path


def append(table: Path, row: Mapping[str, object]) -> None:
    """Add a row; a new table begins with the names."""
    new = not table.exists()
    with table.open("a") as file:
        if new:
            print(*row, sep="\t", file=file)
        print(*row.values(), sep="\t", file=file)
