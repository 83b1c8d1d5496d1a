"""Quality where the picture stands still and where it moves -> rows of benchmarks/rate/motion.tsv

python benchmarks/rate/motion.py FILE.nerv360 ANCHOR.mkv VIDEO --start K

The anchor is a video of the same frames, as `nerv360 compare` keeps them. Views of the training size all around, of
every eighth frame: PSNR of both, and how much the source changes in four frames (mean absolute difference, in levels).
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append

import nerv360
from nerv360.extract import extract_viewport
from nerv360.quality import psnr
from nerv360.video.clip import Clip

TABLE = Path(__file__).with_suffix(".tsv")


def main(file: Path, anchor: Path, video: Path, start: int = 0) -> None:
    names = f"{file.name} {anchor.name} {video.name} --start {start}"
    with nerv360.open(file, backend="torch") as decoder:
        source = list(Clip.open(video, start=start, frames=decoder.frames, size=(decoder.width, decoder.height)))
        other = list(Clip.open(anchor))
        for pitch in (-45, 0, 45):
            for yaw in range(-180, 180, 45):
                view = replace(decoder.native_view(), yaw_deg=yaw, pitch_deg=pitch)
                rows = []
                for frame in range(4, decoder.frames, 8):
                    now, before = (extract_viewport(source[index], view) for index in (frame, frame - 4))
                    ours = psnr(decoder.viewport(frame, view), now)
                    change = np.abs(now.astype(np.float64) - before).mean()
                    rows.append((change, ours, psnr(extract_viewport(other[frame], view), now)))
                change, ours, theirs = np.mean(rows, axis=0)
                row = {
                    "yaw_deg": yaw,
                    "pitch_deg": pitch,
                    "change": f"{change:.2f}",
                    "psnr_db": f"{ours:.2f}",
                    "anchor_psnr_db": f"{theirs:.2f}",
                    "bytes": file.stat().st_size,
                    "anchor_bytes": anchor.stat().st_size,
                    "command": f"python benchmarks/rate/motion.py {names}",
                }
                append(TABLE, row)


if __name__ == "__main__":
    typer.run(main)
