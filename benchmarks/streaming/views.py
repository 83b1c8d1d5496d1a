"""What views of a file take: python benchmarks/streaming/views.py FILE

Prints the memory of a path of 90 degrees, its processor time on one thread, and the least PSNR of its views beside
cut-outs of panoramas: they differ where the file has sectors.
"""

import re
import time
from pathlib import Path

import torch
import typer
from measure import LOOK

from nerv360 import api
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import linear_trajectory
from nerv360.quality import psnr


def resident_mb() -> float:
    """Memory of this process (Linux)."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1000


def main(file: Path) -> None:
    torch.set_num_threads(1)
    with api.open(file) as decoder:
        views = linear_trajectory(LOOK, decoder.frames, (0, 0), (90, 0))
        before, began = resident_mb(), time.process_time()
        shown = [decoder.viewport(frame, view) for frame, view in enumerate(views)]
        print(f"{resident_mb() - before:.0f} MB, {time.process_time() - began:.2f} s of processor time")
    with api.open(file) as decoder:
        cut = (extract_viewport(decoder.panorama(frame), view) for frame, view in enumerate(views))
        print(f"{min(psnr(*each) for each in zip(shown, cut, strict=True)):.1f} dB at least")


if __name__ == "__main__":
    typer.run(main)
