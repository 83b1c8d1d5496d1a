"""Append rows to benchmarks/player/draft.tsv: drafts of fewer pixels, enlarged as by the page, and the whole picture.

python benchmarks/player/draft.py FILE VIDEO
Twelve views, all round and at three heights. `cpu_ms` is their median, of the processor's time: with OMP_NUM_THREADS=1,
what decoding takes on a machine without other work.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append, commit, cpu

from nerv360 import api
from nerv360.codec.decoder import _resized
from nerv360.extract import extract_viewport
from nerv360.quality import psnr
from nerv360.video.clip import Clip

VIEWS = 12
SCALES = (1.0, 0.75, 0.5, 0.35, 0.25)


def main(file: Path, video: Path) -> None:
    with api.open(file) as decoder:
        frames = list(Clip.open(video, frames=decoder.frames, size=(decoder.width, decoder.height)))
        look = decoder.native_view()
        views = [
            (index % decoder.frames, replace(look, yaw_deg=30.0 * index, pitch_deg=25.0 * (index % 3 - 1)))
            for index in range(VIEWS)
        ]
        whole = [decoder.viewport(frame, view) for frame, view in views]
        for scale in SCALES:
            milliseconds, to_source, to_whole = [], [], []
            for (frame, view), picture in zip(views, whole, strict=True):
                small = view.resized(round(scale * view.width), round(scale * view.height))
                decoder.viewport(frame, small, draft=True)  # its network is compiled, its frame read
                began = time.process_time()
                draft = decoder.viewport(frame, replace(small, yaw_deg=small.yaw_deg + 0.01), draft=True)
                milliseconds.append(1000 * (time.process_time() - began))
                draft = _resized(draft, view.width, view.height)
                to_source.append(psnr(draft, extract_viewport(frames[frame], view)))
                to_whole.append(psnr(draft, picture))
            row = {
                "file": file.name,
                "view": f"{look.width}x{look.height}",
                "scale": scale,
                "psnr_db": f"{np.mean(to_source):.2f}",
                "psnr_to_whole_db": f"{np.mean(to_whole):.2f}",
                "cpu_ms": f"{np.median(milliseconds):.1f}",
                "cpu": cpu(),
                "commit": commit(),
            }
            append(Path(__file__).with_suffix(".tsv"), row)
            print(*row.values(), sep="\t")


if __name__ == "__main__":
    typer.run(main)
