"""What a machine with a GPU does, on a second device in the host's memory (helpers/second_device.py)."""

from dataclasses import replace

import pytest
import torch
from helpers.second_device import DEVICE, DeviceMismatch, second_device

from nerv360.config import PRESETS, EncodingConfig
from nerv360.geometry.viewport import Viewport
from nerv360.models.base import build, channels_last, configure
from nerv360.training.checkpoint import Progress
from nerv360.training.fit import Example, Fitting, train_step
from nerv360.training.optim import create_optimiser

WIDTH, HEIGHT, FRAMES = 144, 72, 4
SMALL = replace(PRESETS["tiny"], channels=(14, 12, 12, 12, 12), view_width=48, view_height=48)
GRID = replace(PRESETS["medium"], view_width=48, view_height=48)
CONFIGS = {
    "nerv360": SMALL,
    "nerv360, its rate fitted": replace(SMALL, rate_weight=1.0),
    "nerv360, two views": replace(SMALL, views=2),
    "hnerv": replace(SMALL, model="hnerv"),
    "hnerv-boost": replace(SMALL, model="hnerv-boost"),
    "nerv360-grid": GRID,
}
VIEWS = [Viewport(yaw, pitch, width=48, height=48) for yaw, pitch in ((175, 10), (0, 80))]


def step_twice(config: EncodingConfig, device: torch.device, done: float) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss after two steps, with that part of the fit done, and all numbers of the network."""
    torch.manual_seed(0)
    network = channels_last(build(configure(config, WIDTH, HEIGHT), FRAMES).to(device))
    fitting = Fitting(network, config).to(device)
    optimiser, progress = create_optimiser(fitting, config), Progress(rate_weight=config.rate_weight)
    levels = torch.arange(3 * HEIGHT * WIDTH) * 37 % 256
    panorama = levels.to(torch.uint8).reshape(1, 3, HEIGHT, WIDTH).to(device)
    for first in range(2):
        views = [*VIEWS[first:], *VIEWS][: config.views]
        train_step(fitting, optimiser, Example(panorama, 1, FRAMES, views, views), 1e-3, done, config, progress)
        progress.step += 1
    return progress.loss, {name: tensor.cpu() for name, tensor in fitting.state_dict().items()}


@pytest.mark.parametrize("done", [0.1, 0.9], ids=["early", "late"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_steps_equal_those_of_the_cpu(config: EncodingConfig, done: float) -> None:
    with second_device():
        loss, numbers = step_twice(config, DEVICE, done)
    expected, known = step_twice(config, torch.device("cpu"), done)
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, tensor in known.items():  # worst was 3.0e-5, of steps of 1e-3: where a gradient is almost 0
        worst = (numbers[name] - tensor).abs().max()
        assert worst < 1e-4, f"{name}: off by {worst:.1e}"


def test_the_second_device_refuses_tensors_of_the_cpu() -> None:
    there = torch.ones(3, device=DEVICE)
    with pytest.raises(DeviceMismatch, match=r"aten\.add"):
        there + torch.ones(3)
    with pytest.raises(DeviceMismatch, match=r"aten\.index"):
        there[torch.zeros(1, dtype=torch.long)]


def test_the_second_device_tells_what_the_host_waits_for() -> None:
    with second_device() as waits:
        there = torch.ones(3, device=DEVICE)
        assert (there + 1).device == DEVICE and not waits
        assert there.sum().item() == 3 and there.tolist() == [1, 1, 1]
        there[there > 0] = 2.0
        assert there.nonzero().shape == (3, 1) and len(waits) == 4
