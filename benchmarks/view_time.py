"""Processor time of `Decoder.viewport` on one thread; appends to benchmarks/view_time.tsv.

python benchmarks/view_time.py FILE.nerv360 --size 640x360

A new view of a new frame each time, and one view of one frame again and again, 64 times each after some that warm up.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
import typer
from table import append, commit, cpu

import nerv360

TABLE = Path(__file__).with_suffix(".tsv")
COUNT, WARM = 64, 16
BETWEEN = 5  # a frame between keys of all grids


def main(file: Path, size: str = "640x360") -> None:
    torch.set_num_threads(1)
    width, height = map(int, size.split("x"))
    with nerv360.open(file) as decoder:
        views = [nerv360.Viewport(3 * i, 10 * (i % 7 - 3), 0, 78.1, None, width, height) for i in range(COUNT)]
        row = {
            "file": file.name,
            "bytes": file.stat().st_size,
            "view": size,
            "new_ms": f"{milliseconds(lambda i: decoder.viewport(i % decoder.frames, views[i])):.1f}",
            "again_ms": f"{milliseconds(lambda i: decoder.viewport(BETWEEN, views[0])):.1f}",
            "cpu": cpu(),
            "commit": commit(),
        }
    append(TABLE, row)
    print(row)


def milliseconds(work: Callable[[int], object]) -> float:
    """Of the process's time, for one call, the mean."""
    for index in range(WARM):
        work(index)
    began = time.process_time()
    for index in range(COUNT):
        work(index)
    return 1000 * (time.process_time() - began) / COUNT


if __name__ == "__main__":
    typer.run(main)
