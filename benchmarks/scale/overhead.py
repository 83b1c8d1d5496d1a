"""What Ray and the driver cost for each segment -> rows of benchmarks/scale/overhead.tsv

python benchmarks/scale/overhead.py [--segments N] [--workers N]

Segments whose parts are there already: every task starts, finds its part, and ends. The driver does all that it does
for real ones. The first task of each worker, which loads PyTorch, is not counted.
"""

import platform
import resource
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append

from nerv360.cluster.plan import SegmentJob
from nerv360.cluster.ray_executor import run_on_ray
from nerv360.cluster.worker import JobUpdate
from nerv360.config import preset_for
from nerv360.types import UNSPECIFIED_COLOUR
from nerv360.video.clip import Clip

TABLE = Path(__file__).with_suffix(".tsv")


def main(segments: int = 10_000, workers: int = 2) -> None:
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.nerv360"
        part.touch()
        clip = Clip(part, 0, 300, 6144, 3072, Fraction(30), UNSPECIFIED_COLOUR, tuple(range(300)))
        config = preset_for("nerv360-grid", "fast")
        jobs = [SegmentJob(replace(clip, start=300 * number), part, config, None) for number in range(segments)]
        times: list[float] = []

        def on_progress(update: JobUpdate) -> None:
            if update.stage == "done":
                times.append(time.monotonic())

        began = time.process_time()
        run_on_ray(jobs, on_progress, workers=workers)
    row = {
        "segments": segments,
        "workers": workers,
        "ms_per_segment": f"{1000 * (times[-1] - times[0]) / (len(times) - 1):.2f}",
        "driver_ms_per_segment": f"{1000 * (time.process_time() - began) / segments:.2f}",
        "driver_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "device": f"CPU {platform.machine()}, 2 cores",
        "command": f"python benchmarks/scale/overhead.py --segments {segments} --workers {workers}",
    }
    append(TABLE, row)
    print(row)


if __name__ == "__main__":
    typer.run(main)
