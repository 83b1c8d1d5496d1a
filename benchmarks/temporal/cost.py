"""Processor seconds of encoding on one thread, to cost.tsv: cost.py VIDEO:START:FRAMES:WxH ..., by Python."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import torch

import nerv360
from nerv360.evaluation.results_store import append_row
from nerv360.video.clip import Clip

TABLE = Path(__file__).parent / "cost.tsv"
PRESETS = ("instant", "fast", "medium")


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        path, start, frames, size = name.rsplit(":", 3)
        width, height = map(int, size.split("x"))
        clip = Clip.open(path, start=int(start), frames=int(frames), size=(width, height))
        for preset in PRESETS:
            with TemporaryDirectory() as folder:
                began = time.process_time()
                result = nerv360.encode(clip, Path(folder) / "a.nerv360", nerv360.preset(preset))
                seconds = time.process_time() - began
            per_megapixel = seconds / (clip.frames * width * height / 1e6)
            row = {"clip": f"{Path(path).name}:{start}:{frames}:{size}", "preset": preset, "bytes": str(result.size)}
            append_row(TABLE, row | {"cpu_s_per_mp": f"{per_megapixel:.2f}"})


if __name__ == "__main__":
    main()
