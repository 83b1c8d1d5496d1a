"""What a network costs: seconds and memory of encoding, decoding and fitting, each in a process of its own.

Weights are fresh and pictures are noise: neither changes the cost. Memory is what the network adds to a process that
has PyTorch loaded: on CUDA `torch.cuda.max_memory_allocated`, on a CPU the peak of the resident size (Linux).
"""

import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nerv360.config import EncodingConfig
from nerv360.errors import OutOfMemory
from nerv360.experiments.peak_memory import forget_peak, peak_memory
from nerv360.geometry.viewport import JVET_TRAJECTORIES, Viewport, linear_trajectory
from nerv360.latents.grid import FrameTime
from nerv360.models.build import build, channels_last
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.device import device_failures
from nerv360.models.memory import check_memory, is_out_of_memory
from nerv360.training.checkpoint import Progress
from nerv360.training.configure import configure
from nerv360.training.optimisers import create_optimiser
from nerv360.training.running_means import RunningMeans
from nerv360.training.sampling import TrainingSample, sample_view
from nerv360.training.step import train_step
from nerv360.training.training_module import TrainingModule

__all__ = ["PHASES", "Cost", "forget_peak", "measure", "measure_apart", "peak_memory"]

Work = Callable[[int], None]
PHASES = ("encoding", "decoding", "training")
WARM_UP = 2
FRAMES = 16
SAMPLED = 256  # views of training, to know their mean cost by


@dataclass(frozen=True)
class Cost:
    """Of one phase, for one frame. A step of the paper's network costs more near the poles: its mean counts."""

    mean_s: float
    median_s: float
    p95_s: float
    repeats: int
    peak_bytes: int | None  # None where it cannot be measured


def measure_apart(
    config: EncodingConfig, width: int, height: int, phase: str, device: str, threads: int, repeats: int
) -> Cost:
    """`measure` in a fresh process, which ends with this one. Raises OutOfMemory where it does not fit."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
        try:
            return pool.submit(measure, config, width, height, phase, device, threads, repeats).result()
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, BrokenProcessPool) or is_out_of_memory(error)):
                raise
            raise OutOfMemory(
                f"{config.architecture.model}, {width}x{height}: {phase} was ended by the system, or does not fit the "
                "memory; take a smaller panorama or decoder"
            ) from None


def _end_with_parent() -> None:
    """A process whose parent was killed would keep its memory, and wait for work that never comes."""

    def wait() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def measure(
    config: EncodingConfig, width: int, height: int, phase: str, device: str, threads: int, repeats: int
) -> Cost:
    """Time and memory of a phase ("encoding", "decoding" or "training") for a panorama of this size.

    Raises DeviceError where the device fails.
    """
    with device_failures(torch.device(device), "what is measured is kept, and the same command measures the rest"):
        return _measure(config, width, height, phase, torch.device(device), threads, repeats)


def _measure(
    config: EncodingConfig, width: int, height: int, phase: str, on_device: torch.device, threads: int, repeats: int
) -> Cost:
    torch.set_num_threads(threads)
    shape = configure(config, width, height)
    check_memory(shape, phase, on_device, config.view_sampling.views if phase == "training" else 1)
    nn.Conv2d(3, 3, 3).to(on_device)(torch.rand(1, 3, 8, 8, device=on_device)).sum().backward()
    forget_peak(on_device)
    before = peak_memory(on_device)
    model = channels_last(build(shape, FRAMES).to(on_device))
    prepare = {"encoding": _encoding, "decoding": _decoding, "training": _training}[phase]
    work = prepare(model, config, on_device, repeats)
    seconds = []
    for index in range(WARM_UP + repeats):
        _synchronise(on_device)
        started = time.perf_counter()
        work(index)
        _synchronise(on_device)
        seconds.append(time.perf_counter() - started)
    timed = sorted(seconds[WARM_UP:])
    p95 = timed[int(0.95 * (repeats - 1) + 0.5)]
    after = peak_memory(on_device)
    memory = None if before is None or after is None else after - before
    return Cost(statistics.mean(timed), statistics.median(timed), p95, repeats, memory)


def _encoding(model: DecoderNetwork, config: EncodingConfig, device: torch.device, repeats: int) -> Work:
    """Panorama -> embedding."""
    panorama = _panorama(model, device)

    @torch.inference_mode()
    def work(index: int) -> None:
        with _half(device):
            model.fitted_latents([panorama])

    return work


def _decoding(model: DecoderNetwork, config: EncodingConfig, device: torch.device, repeats: int) -> Work:
    """Embedding -> viewport, along a trajectory."""
    shape = model.config
    delattr(model, model.training_only)
    embedding = torch.rand(1, shape.embedding_channels, shape.grid_height, shape.grid_width, device=device)
    width, height = config.training_view(shape.width)
    views = linear_trajectory(Viewport(width=width, height=height), FRAMES, *JVET_TRAJECTORIES["Balboa"][0])

    @torch.inference_mode()
    def work(index: int) -> None:
        view = views[index % FRAMES]
        with _half(device):
            model.decode([window.crop(embedding) for window in model.windows(view)], FrameTime(0, 1), view)

    return work


def _training(model: DecoderNetwork, config: EncodingConfig, device: torch.device, repeats: int) -> Work:
    """One step of the optimiser, on views of a fit that are of its mean cost: those near a pole are far dearer."""
    panorama, fitting = _panorama(model, device), TrainingModule(model, config.rate_target.rate_weight).to(device)
    optimiser, means = create_optimiser(fitting, config.optimisation), RunningMeans(Progress(), device)
    views = [sample_view(config, model.config.width, 0, number) for number in range(SAMPLED)]
    count = config.view_sampling.views
    begin = _typical([_seen(model, view) for view in views], repeats * count) - WARM_UP * count

    def work(index: int) -> None:
        first = begin + index * count
        seen = [views[(first + k) % SAMPLED] for k in range(count)]
        example = TrainingSample(panorama, index % FRAMES, FRAMES, seen, seen)
        train_step(fitting, optimiser, example, 1e-4, 0.5, config, Progress(), means)

    return work


def _seen(model: DecoderNetwork, view: Viewport) -> int:
    """Cells of the latents that a view needs."""
    return sum(window.rows * window.columns for window in model.windows(view))


def _typical(costs: Sequence[int], length: int) -> int:
    """Where so many of them begin, one after the other and round, whose mean is nearest to the mean of all."""
    mean = statistics.mean(costs)
    runs = ([costs[(first + k) % len(costs)] for k in range(length)] for first in range(len(costs)))
    distances = [abs(statistics.mean(run) - mean) for run in runs]
    return distances.index(min(distances))


def _panorama(model: DecoderNetwork, device: torch.device) -> Tensor:
    return torch.randint(0, 256, (1, 3, model.config.height, model.config.width), dtype=torch.uint8, device=device)


def _half(device: torch.device) -> torch.autocast:
    """Half precision on CUDA (Sec. III-A), single on a CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
