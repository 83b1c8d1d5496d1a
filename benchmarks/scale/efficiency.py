"""Processes side by side against one after the other -> rows of benchmarks/scale/efficiency.tsv

python benchmarks/scale/efficiency.py [--segments N] [--workers N] [--epochs E]

Even segments of the procedural clip, 312x156, preset fast, one thread each. Wall time is from the first word of a
segment to the last: Ray's start and the loading of PyTorch are apart. Efficiency is the sequential time over workers
times the time with workers. The load is that of the machine at the end: where others work on it too, it says little.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append

from nerv360.cluster.plan import SegmentJob
from nerv360.cluster.ray_executor import run_on_ray
from nerv360.cluster.worker import JobUpdate, run_in_process
from nerv360.config import preset_for
from nerv360.types import BT709
from nerv360.video.clip import Clip
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

TABLE = Path(__file__).with_suffix(".tsv")
FRAMES = 12  # of a segment


def main(segments: int = 4, workers: int = 2, epochs: int = 30) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = (render_frame(i, width=312, height=156, frames=64) for i in range(FRAMES * segments))
        write_frames(folder / "film.mp4", pictures, Fraction(25), BT709)
        film = Clip.open(folder / "film.mp4")

        def seconds(run: Callable[..., None], kind: str) -> float:
            heard: list[float] = []

            def on_progress(update: JobUpdate) -> None:
                assert update.stage != "failed", update
                heard.append(time.monotonic())

            config = preset_for("nerv360-grid", "fast").replace(epochs=epochs)
            parts = [folder / f"{kind}-{number}.nerv360" for number in range(segments)]
            jobs = [SegmentJob(film.cut(FRAMES * i, FRAMES), part, config, "cpu") for i, part in enumerate(parts)]
            run(jobs, on_progress)
            return heard[-1] - heard[0]

        alone = seconds(run_in_process, "alone")
        together = seconds(lambda jobs, on_progress: run_on_ray(jobs, on_progress, workers=workers), "together")
        for number in range(segments):
            pair = [(folder / f"{kind}-{number}.nerv360").read_bytes() for kind in ("alone", "together")]
            assert pair[0] == pair[1]
    row = {
        "segments": segments,
        "workers": workers,
        "sequential_s": f"{alone:.1f}",
        "side_by_side_s": f"{together:.1f}",
        "efficiency": f"{alone / workers / together:.2f}",
        "load": f"{os.getloadavg()[0]:.1f}",
        "device": f"CPU {platform.machine()}, {os.cpu_count()} cores",
        "command": f"python benchmarks/scale/efficiency.py --segments {segments} --workers {workers} --epochs {epochs}",
    }
    append(TABLE, row)
    print(row)


if __name__ == "__main__":
    typer.run(main)
