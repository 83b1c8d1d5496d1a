"""Processor time of a view by every backend, each in a process of its own: it tells apart what a busy machine does not.

python benchmarks/runtime/processor_time.py FILE --size 1920x1080
Views turn, frame after frame, at the focal length of training. Printed are medians of milliseconds: of all processors
together, and on the clock.
"""

import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from nerv360.api import open as open_file
from nerv360.geometry.viewport import Viewport

BACKENDS = ("opengl", "openvino", "onnxruntime", "torch")


def main(
    file: Path,
    size: str = "1920x1080",
    repeats: int = 11,
    backend: Annotated[str, typer.Option(help="By default each, one after the other.")] = "",
) -> None:
    if not backend:
        for each in BACKENDS:
            subprocess.run([sys.executable, *sys.argv, "--backend", each], check=True)
        return
    width, height = (int(side) for side in size.split("x"))
    processor, clock = [], []
    with open_file(file, backend=backend) as decoder:
        hfov_deg = 2 * math.degrees(math.atan(width / 2 / decoder.native_view().focal[0]))
        for index in range(-2, repeats):
            view = Viewport(7.0 * index, 3.0 * (index % 9), 0, hfov_deg, None, width, height)
            began = time.process_time(), time.perf_counter()
            decoder.viewport(index % decoder.frames, view)
            if index >= 0:
                processor.append(time.process_time() - began[0])
                clock.append(time.perf_counter() - began[1])
    print(f"{backend}\t{1000 * statistics.median(processor):.0f}\t{1000 * statistics.median(clock):.0f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
