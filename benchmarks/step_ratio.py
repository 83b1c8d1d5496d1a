"""A step of a fit beside that of another version of the code: operations, and time by turns.

python benchmarks/step_ratio.py OTHER/src [--model nerv360-grid] [--views 1] [--width 768] [--turns 8]
-> rows of benchmarks/step_ratio.tsv

Each version has a process of its own, of one thread; they take turns, 16 steps each, and the ratio is the median over
the turns. In nerv360-grid, `noise` are steps under noise, in a quarter of which the context model learns; `rounded`
those of the last quarter of a fit. Operations are those that PyTorch's dispatcher sees.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from table import append, commit, cpu
from torch.utils._python_dispatch import TorchDispatchMode

from nerv360.config import preset_for
from nerv360.models.build import build, channels_last
from nerv360.models.registry import model_spec
from nerv360.training.checkpoint import Progress
from nerv360.training.configure import configure
from nerv360.training.optimisers import create_optimiser
from nerv360.training.running_means import RunningMeans
from nerv360.training.sampling import training_sample
from nerv360.training.step import train_step
from nerv360.training.training_module import TrainingModule

FRAMES, STEPS = 64, 16
PHASES = {"noise": 0.5, "rounded": 0.9}  # part of the fit that is done
CPU = torch.device("cpu")


class Steps:
    """Steps of a fit to noise, one after the other."""

    def __init__(
        self,
        model: str,
        views: int,
        width: int,
        device: torch.device = CPU,
        precision: torch.dtype = torch.float32,
    ) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.config, self.done = preset_for(model, model_spec(model).default_preset).replace(views=views), 0
        self.device = device
        network = channels_last(build(configure(self.config, width, width // 2), FRAMES).to(device))
        self.module = TrainingModule(network, self.config.rate_target.rate_weight, precision).to(device)
        self.optimiser = create_optimiser(self.module, self.config.optimisation)
        self.means = RunningMeans(Progress(), device)
        random = np.random.default_rng(0)
        self.pictures = [random.integers(0, 256, (width // 2, width, 3), dtype=np.uint8) for _ in range(4)]

    def run(self, fraction: float) -> None:
        for _ in range(STEPS):
            progress = Progress(step=self.done, rate_weight=self.config.rate_target.rate_weight)
            picture, frame = self.pictures[self.done % 4], self.done * 7 % FRAMES
            sample = training_sample(picture, frame, FRAMES, self.done, self.config, None, self.device)
            train_step(self.module, self.optimiser, sample, 1e-3, fraction, self.config, progress, self.means)
            self.done += 1


class Count(TorchDispatchMode):
    """How many operations are dispatched."""

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return func(*args, **(kwargs or {}))


def work(steps: Steps) -> None:
    """Milliseconds of a step for every fraction that is asked for on standard input; operations for `count F`."""
    for line in sys.stdin:
        *counted, fraction = line.split()
        started = time.perf_counter()
        with Count() if counted else torch.enable_grad() as count:
            steps.run(float(fraction))
        took = 1000 * (time.perf_counter() - started)
        print((count.operations if isinstance(count, Count) else took) / STEPS, flush=True)


class Version:
    """A process that takes steps by the code of a folder."""

    def __init__(self, source: Path, model: str, views: int, width: int) -> None:
        command = [sys.executable, __file__, str(source), "--worker", "--model", model]
        command += ["--views", str(views), "--width", str(width)]
        environment = {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)

    def ask(self, question: str) -> float:
        assert self.process.stdin and self.process.stdout
        print(question, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def main(
    other: Path,
    model: str = "nerv360-grid",
    views: int = 1,
    width: int = 768,
    turns: int = 8,
    worker: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    if worker:
        work(Steps(model, views, width))
        return
    sources = other, Path(__file__).parents[1] / "src"
    versions = [Version(source, model, views, width) for source in sources]
    for phase, fraction in (PHASES if model == "nerv360-grid" else {"all": 0.5}).items():
        operations = [version.ask(f"count {fraction}") for version in versions]
        times = [[version.ask(f"{fraction}") for version in versions] for _ in range(turns)]
        before, now = (statistics.median(each) for each in zip(*times, strict=True))
        row: dict[str, object] = {"model": model, "views": views, "panorama": f"{width}x{width // 2}", "steps": phase}
        row |= {"operations_before": round(operations[0]), "operations": round(operations[1])}
        row |= {"ms_before": f"{before:.1f}", "ms": f"{now:.1f}"}
        row |= {"ratio": f"{statistics.median(b / a for a, b in times):.3f}"}
        row |= {"torch": torch.__version__, "device": cpu(), "commit": commit()}
        append(Path(__file__).with_suffix(".tsv"), row)
        print(*row.values(), sep="\t", flush=True)


if __name__ == "__main__":
    typer.run(main)
