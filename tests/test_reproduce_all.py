"""`nerv360 reproduce all`: on a second device, which fails; then from a copy of the folder on another machine."""

import shutil
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.commands import Commands
from helpers.second_device import DEVICE, second_device

from nerv360 import api
from nerv360.cli.reproduce_all import everything, parse_duration
from nerv360.config import preset_for
from nerv360.errors import ArgumentError, DeviceError, OutOfMemory
from nerv360.evaluation.results_store import read_rows
from nerv360.experiments import benchmark, plan, reproduce
from nerv360.experiments.reproduce import Run
from nerv360.models.device import choose_device
from nerv360.models.memory import enough_memory
from nerv360.training import fit
from nerv360.training.configure import configure
from nerv360.video.clip import Clip

LOST = "CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"


@pytest.fixture
def measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes know no second device."""
    monkeypatch.setattr(reproduce, "measure_apart", benchmark.measure)
    monkeypatch.setattr(benchmark, "WARM_UP", 0)


@pytest.mark.usefixtures("measured_here")
def test_a_device_that_fails_leaves_what_another_goes_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = partial(everything, scale="small", budget="10h", frames=2, size="96x48", repeats=1, device=None)
    there, here, taken = tmp_path / "there", tmp_path / "here", fit.train_step
    steps = []

    def failing(*arguments: Any) -> None:
        steps.append(arguments)
        if len(steps) == 5:
            raise torch.AcceleratorError(LOST)
        taken(*arguments)

    monkeypatch.setattr(fit, "train_step", failing)
    monkeypatch.setattr(fit, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(fit, "MOST_SECONDS", 0.0)
    with second_device(), monkeypatch.context() as patch:
        patch.setattr(api, "choose_device", lambda name: DEVICE)
        with pytest.raises(
            DeviceError, match=r"has failed \(CUDA error: unspecified launch failure\); the fit is kept"
        ):
            run(output=there)
    assert [row["device"] for row in read_rows(there / "costs.tsv")] == 9 * ["second device"]
    assert not read_rows(there / "runs.tsv")
    shutil.copytree(there, here)
    run(output=here)
    assert len(steps) == 4 + 1 + 12 + 16  # 8 epochs of 2 frames each: the first fit went on behind its 4 steps
    assert [row["variant"] for row in read_rows(here / "runs.tsv")] == ["NeRV360", "HNeRV"]
    assert len(read_rows(here / "costs.tsv")) == 18 and len(read_rows(here / "plans.tsv")) == 1
    run(output=here)
    assert len(steps) == 33 and len(list(here.glob("all-*.md"))) == 2


def costs_of(**speeds: float) -> list[dict[str, str]]:
    return [
        {"model": model, "views": "1", "phase": "training", "frames_per_s": f"{speed:g}" if speed else ""}
        for model, speed in speeds.items()
    ]


def test_a_plan_is_what_fits_and_is_kept(video: Path, tmp_path: Path) -> None:
    clip, settings = Clip.open(video, frames=4), preset_for("nerv360", "tiny")
    runs = [Run(model, settings.replace(model=model), clip) for model in ("nerv360", "hnerv")]
    cpu = torch.device("cpu")

    def epochs(costs: list[dict[str, str]], seconds_left: float, folder: str) -> list[int]:
        (tmp_path / folder).mkdir(exist_ok=True)
        planned = plan.planned_runs(runs, costs, seconds_left, 100.0, tmp_path / folder, cpu)
        return [run.config.optimisation.epochs for run in planned]

    both = costs_of(nerv360=4.0, hnerv=2.0)  # an epoch of both takes 3 s
    assert epochs(both, 91.0, "a") == [21, 21]
    assert epochs(both, 1.0, "a") == [21, 21]
    assert epochs(costs_of(nerv360=4.0, hnerv=0.0), 91.0, "b") == [63]
    assert epochs(both, 1e6, "c") == [100, 100]  # the preset's
    with pytest.raises(ArgumentError, match=r"--budget 100s: an epoch of nerv360 and hnerv takes 3 s; give at least"):
        epochs(both, 1.0, "d")
    with pytest.raises(OutOfMemory, match="no network of these can be trained"):
        epochs(costs_of(nerv360=0.0, hnerv=0.0), 90.0, "e")


def test_times_are_read() -> None:
    assert [parse_duration(text, "--budget") for text in ("25min", "90 s", "1.5h")] == [1500, 90, 5400]
    for text in ("25", "soon", "0min", "-1s"):
        with pytest.raises(ArgumentError, match=rf"--budget {text}: must be a time, as 25min"):
            parse_duration(text, "--budget")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("all --budget soon", "--budget soon: must be a time, as 25min, 90s or 2h"),
        ("all --size 32x16", "--size 32x16: the procedural clip has 64x32 to 8192x4096"),
        ("all --size 96x40", "--size 96x40: a panorama must be 2:1"),
        ("all --device cuda", "device=cuda: "),
    ],
)
def test_bad_input_is_one_line(commands_with_torch: Commands, tmp_path: Path, arguments: str, message: str) -> None:
    result = commands_with_torch("reproduce", *arguments.split(), cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_why_there_is_no_cuda_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_old() -> bool:
        warnings.warn(
            "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040).", stacklevel=2
        )
        return False

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ArgumentError, match="this PyTorch is built for the CPU alone; install one for CUDA"):
        choose_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(ArgumentError, match="this PyTorch finds no CUDA device; install the NVIDIA driver"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", too_old)
    with pytest.raises(ArgumentError, match=r"the NVIDIA driver \(CUDA 11.4\) is too old for this PyTorch; update it"):
        choose_device("cuda")
    assert choose_device(None).type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None).type == choose_device("cuda").type == "cuda"


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"])
def test_what_fits_a_gpu_is_named(words: str) -> None:
    config = configure(preset_for("hnerv", "paper-2.2m"), 6144, 3072)
    message = r"does not fit the memory of second:0, 24.0 GiB; a panorama of about \d+x\d+ would fit \(--size\)"
    with pytest.raises(OutOfMemory, match=message), enough_memory(config, "training", DEVICE):
        raise RuntimeError(words)
