"""Seconds and memory of a step of nerv360-grid against the size of the panorama; appends to benchmarks/step_time.tsv.

python benchmarks/step_time.py WIDTH VIEW_WIDTH VIEW_HEIGHT HFOV; one process for each, so that its peak memory is its
own. Panoramas of noise, 64 frames, one thread, the median of five steps after two.
"""

import platform
import resource
import statistics
import time
from pathlib import Path

import torch
import typer
from table import append

from nerv360.config import preset_for
from nerv360.geometry.viewport import Viewport
from nerv360.models.build import build
from nerv360.training.checkpoint import Progress
from nerv360.training.configure import configure
from nerv360.training.optimisers import create_optimiser
from nerv360.training.running_means import RunningMeans
from nerv360.training.sampling import TrainingSample
from nerv360.training.step import train_step
from nerv360.training.training_module import TrainingModule

FRAMES = 64


def main(width: int, view_width: int, view_height: int, hfov: float) -> None:
    torch.set_num_threads(1)
    config = preset_for("nerv360-grid", "medium")
    fitting = TrainingModule(build(configure(config, width, width // 2), FRAMES), config.rate_target.rate_weight)
    optimiser, means = create_optimiser(fitting, config.optimisation), RunningMeans(Progress(), torch.device("cpu"))
    panorama = torch.randint(0, 256, (1, 3, width // 2, width), dtype=torch.uint8)
    seconds = []
    for index in range(7):
        view = Viewport(30.0 * index, 20.0, 0.0, hfov, None, view_width, view_height)
        started = time.perf_counter()
        sample = TrainingSample(panorama, 3, FRAMES, [view], [view])
        train_step(fitting, optimiser, sample, 1e-3, 0.5, config, Progress(), means)
        seconds.append(time.perf_counter() - started)
    row = {
        "panorama": f"{width}x{width // 2}",
        "viewport": f"{view_width}x{view_height} @ {hfov:g} deg",
        "seconds_per_step": f"{statistics.median(seconds[2:]):.2f}",
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "device": f"CPU {platform.machine()}, 1 thread",
        "torch": torch.__version__,
    }
    append(Path(__file__).with_suffix(".tsv"), row)
    print(row)


if __name__ == "__main__":
    typer.run(main)
