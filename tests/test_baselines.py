"""HNeRV and HNeRV-Boost: against a second forward pass, and through a file."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from helpers.progress import on_steps, stop_at
from torch import Tensor
from torch.nn import functional

from nerv360 import api
from nerv360.config import EncodingConfig, preset_for, presets_of
from nerv360.errors import ArgumentError, OutOfMemory
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime
from nerv360.models.build import build, decoder_size
from nerv360.models.memory import bytes_needed, check_memory, enough_memory
from nerv360.models.nerv360 import NeRV360
from nerv360.models.network_config import NetworkConfig
from nerv360.models.panorama_network import PanoramaNetwork
from nerv360.training import fit as fitting
from nerv360.training import step
from nerv360.training.configure import configure
from nerv360.training.losses import squared_error

BASELINES = ("hnerv", "hnerv-boost")
TOY = NetworkConfig(96, 48, (14, 13, 12, 12, 12), encoder_channels=8, conditions=())
VIEW = Viewport(20, 30, 0, 70, None, 72, 48)


def toy(model: str, late_blocks: int = 1) -> tuple[PanoramaNetwork, dict[str, Tensor], Tensor]:
    torch.manual_seed(1)
    kernels = (1, 3, 5, 5) if model == "hnerv" else (1, 3, 3, 3)
    network = build(replace(TOY, model=model, kernels=kernels, late_blocks=late_blocks)).double()
    assert isinstance(network, PanoramaNetwork)
    return network, network.state_dict(), torch.rand(1, 1, 2, 4, dtype=torch.float64)


def shuffled(features: Tensor, stride: int) -> Tensor:
    """Pixel shuffle, index by index."""
    channels, rows, columns = features.shape[1] // stride**2, *features.shape[-2:]
    out = torch.zeros(1, channels, rows * stride, columns * stride, dtype=features.dtype)
    for i in range(stride):
        for j in range(stride):
            out[:, :, i::stride, j::stride] = features[:, i * stride + j :: stride**2]
    return out


def convolved(features: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    weight = weights[f"{name}.weight"]
    return functional.conv2d(features, weight, weights[f"{name}.bias"], padding=weight.shape[-1] // 2)


def drawn(features: Tensor, weights: dict[str, Tensor]) -> Tensor:
    return (torch.tanh(convolved(features, weights, "head")) + 1) / 2


def test_hnerv_is_convolution_shuffle_and_gelu() -> None:
    network, weights, embedding = toy("hnerv")
    features = embedding
    for name, stride in (("expand", 1), ("stages.0", 3), ("stages.1", 2), ("stages.2", 2), ("stages.3", 2)):
        features = shuffled(convolved(features, weights, f"{name}.conv"), stride)
        features = features * (1 + torch.erf(features / math.sqrt(2))) / 2
    torch.testing.assert_close(
        network.draw([embedding], network.modulations(0.3, [VIEW])), drawn(features, weights), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("late_blocks", "strides"), [(1, (3, 2, 2, 2)), (2, (3, 2, 1, 2, 1, 2, 1))])
def test_hnerv_boost_is_sine_blocks_and_tat_residual_blocks(late_blocks: int, strides: tuple[int, ...]) -> None:
    network, weights, embedding = toy("hnerv-boost", late_blocks)
    angles = [1.25**i * math.pi * 0.3 for i in range(80)]
    encoded = torch.tensor([[*map(math.sin, angles), *map(math.cos, angles)]]).double()

    def linear(values: Tensor, name: str) -> Tensor:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    condition = linear(linear(encoded, "time_stem.hidden").sin(), "time_stem.output").sin()

    def affine(features: Tensor, name: str) -> Tensor:
        scale, shift = (
            linear(linear(condition, f"{name}.{branch}.0").relu(), f"{name}.{branch}.2")[:, :, None, None]
            for branch in ("scale", "shift")
        )
        return (1 + scale) * features + shift

    features = embedding
    for name, stride in (("expand", 1), *((f"stages.{i}", stride) for i, stride in enumerate(strides))):
        features = shuffled(convolved(features, weights, f"{name}.block.conv"), stride).sin()
        inner = convolved(affine(features, f"{name}.residual.affine0"), weights, f"{name}.residual.conv0")
        inner = functional.gelu(inner)
        features = features + convolved(affine(inner, f"{name}.residual.affine1"), weights, f"{name}.residual.conv1")
    # the positional encoding is float32: its rounding is all that differs
    torch.testing.assert_close(
        network.draw([embedding], network.modulations(0.3, [VIEW])), drawn(features, weights), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("model", BASELINES)
@pytest.mark.parametrize("size", [100_000, 140_000, 500_000, 2_200_000, 17_600_000])
def test_sizes_within_two_percent(model: str, size: int) -> None:
    config = configure(EncodingConfig.of(model=model, decoder_size=size), 6144, 3072)
    assert config.kernels == ((1, 3, 5, 5) if model == "hnerv" else (1, 3, 3, 3))
    assert (config.grid_height, config.grid_width) == (128, 256)
    with torch.device("meta"):
        assert decoder_size(build(config)) == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize("model", BASELINES)
def test_the_presets_of_the_paper_are_the_baselines_too(model: str) -> None:
    assert {"tiny", "small", "paper-2.2m", "paper-17.6m"} <= set(presets_of(model))
    theirs = preset_for(model, "paper-2.2m")
    assert (
        theirs.architecture.model,
        theirs.optimisation.loss,
        theirs.optimisation.optimiser,
        theirs.optimisation.learning_rate,
    ) == (model, "eq2", "adan", 3e-3)
    assert (theirs.architecture.decoder_size, theirs.optimisation.epochs, theirs.architecture.encoder_strides) == (
        2_200_000,
        300,
        (3, 2, 2, 2),
    )
    assert f"{model}-published" in presets_of(model)
    assert preset_for("hnerv-boost", "hnerv-boost-published").architecture.late_blocks == 2


@pytest.mark.parametrize(("width", "height"), [(96, 48), (100, 50)])
@pytest.mark.parametrize("model", BASELINES)
def test_a_view_is_cut_out_of_the_panorama(model: str, width: int, height: int) -> None:
    network = build(replace(TOY, model=model, width=width, height=height))
    assert isinstance(network, PanoramaNetwork)
    embedding = torch.rand(1, 1, network.config.grid_height, network.config.grid_width)
    panorama = network.panorama([embedding], FrameTime(0, 1))
    assert panorama.shape == (1, 3, height, width)
    levels = (panorama * 255)[0].permute(1, 2, 0).round().to(torch.uint8).contiguous().numpy()
    view = (network.decode([embedding], FrameTime(0, 1), VIEW) * 255)[0].permute(1, 2, 0).detach().numpy()
    assert np.abs(view - extract_viewport(levels, VIEW)).max() <= 1.01  # both roads round


def interrupted_ends_the_same(video: Path, whole: Path, config: EncodingConfig) -> None:
    again, steps = whole.with_name("again.nerv360"), []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "SAVE_SECONDS", 0.0)
        patch.setattr(fitting, "MOST_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            api.encode(video, again, config, on_progress=stop_at(8, KeyboardInterrupt))
    api.encode(video, again, config, on_progress=on_steps(lambda step: steps.append(step.done)))
    assert steps[0] == 8  # the state behind step 7 was kept, and the optimiser's with it
    assert whole.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("model", BASELINES)
def test_through_a_file(model: str, video: Path, quick: EncodingConfig, tmp_path: Path) -> None:
    path = tmp_path / "a.nerv360"
    api.encode(video, path, quick.replace(model=model, epochs=2))
    interrupted_ends_the_same(video, path, quick.replace(model=model, epochs=2))
    with api.open(path) as decoder:
        panorama, view = decoder.panorama(3), decoder.viewport(3, replace(VIEW, width=100, height=60))
        assert panorama.shape == (80, 160, 3)
        assert np.abs(view.astype(int) - extract_viewport(panorama, replace(VIEW, width=100, height=60))).max() <= 1


def test_hnerv_as_published(video: Path, quick: EncodingConfig, tmp_path: Path) -> None:
    published = preset_for("hnerv", "hnerv-published")
    assert (published.optimisation.loss, published.optimisation.optimiser, published.optimisation.learning_rate) == (
        "l2",
        "adam",
        1e-3,
    )
    a, b = torch.rand(1, 3, 8, 9), torch.rand(1, 3, 8, 9)
    assert squared_error(a, b).item() == pytest.approx(float(np.square(a.numpy() - b.numpy()).mean()), rel=1e-6)
    config = published.replace(decoder_size=quick.architecture.decoder_size, encoder_channels=8, epochs=4)
    losses: list[float] = []
    api.encode(video, tmp_path / "a.nerv360", config, on_progress=on_steps(lambda step: losses.append(step.loss)))
    assert losses[-1] < losses[0] < 0.5  # a squared error, and it falls
    interrupted_ends_the_same(video, tmp_path / "a.nerv360", config)


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "x"},
        {"optimiser": "sgd"},
        {"model": "hnerv", "views": 2},
        {"model": "hnerv-boost", "encoder_strides": (3, 2, 2, 2, 2), "decoder_strides": (3, 2, 2, 2)},
    ],
)
def test_impossible_settings_are_named(change: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=f"{list(change)[-1]}="):
        EncodingConfig.of(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", BASELINES)
def test_a_panorama_too_large_for_memory(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(preset_for(model, "paper-2.2m"), 6144, 3072)
    free = psutil.virtual_memory()._replace(available=4 << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(OutOfMemory, match=r"4\.0 are free; a panorama of about \d+x\d+ would fit"):
        check_memory(config, "decoding", torch.device("cpu"))
    check_memory(configure(preset_for("nerv360", "paper-2.2m"), 6144, 3072), "decoding", torch.device("cpu"))


def test_several_views_read_the_whole_panorama(monkeypatch: pytest.MonkeyPatch) -> None:
    config, cpu = configure(preset_for("nerv360", "tiny"), 6144, 3072), torch.device("cpu")
    assert 20 << 30 < bytes_needed(config, "training", 8) < 32 << 30  # as much as with a baseline
    assert bytes_needed(config, "encoding") < bytes_needed(config, "training", 2) < bytes_needed(config, "training", 3)
    free = psutil.virtual_memory()._replace(available=10 << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    check_memory(config, "training", cpu)
    with pytest.raises(OutOfMemory, match="or fewer views per step"):
        check_memory(config, "training", cpu, 8)


def test_pytorch_out_of_memory_is_told_in_a_line() -> None:
    config, cpu = configure(preset_for("nerv360", "tiny"), 192, 96), torch.device("cpu")
    with pytest.raises(OutOfMemory, match="training does not fit the memory"), enough_memory(config, "training", cpu):
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shapes"), enough_memory(config, "training", cpu):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


def test_wide_inner_stages_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=64 << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    strides: dict[str, Any] = {"encoder_strides": (8, 8, 8), "decoder_strides": (8, 8, 8), "kernels": (1, 1, 1)}
    for width in (1, 4096):
        config = NetworkConfig(16384, 16384, (1, 1, width, 1), "hnerv", **strides)
        if width == 1:
            check_memory(config, "decoding", torch.device("cpu"))
        else:
            with pytest.raises(OutOfMemory):
                check_memory(config, "decoding", torch.device("cpu"))


def test_several_views_are_those_that_single_steps_see() -> None:
    torch.manual_seed(0)
    network = build(replace(TOY, width=192, height=96), 1)
    assert isinstance(network, NeRV360)
    panorama = torch.randint(0, 256, (1, 3, 96, 192), dtype=torch.uint8)
    views = [VIEW, replace(VIEW, yaw_deg=-170), replace(VIEW, pitch_deg=-85)]
    (together,), _ = network.training_inputs(panorama, 0, views, None)
    (whole,) = network.training_windows(views)
    for view in views:
        (alone,), _ = network.training_inputs(panorama, 0, [view], None)
        (window,) = network.windows(view)
        embedding = window.crop(together, whole.grown(network.halo))
        torch.testing.assert_close(embedding, alone, rtol=0, atol=2e-5)


def test_several_views_per_step(video: Path, quick: EncodingConfig, tmp_path: Path) -> None:
    sizes = []
    original: Callable[..., Tensor] = step.distortion
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "distortion", lambda a, *rest: (sizes.append(len(a)), original(a, *rest))[1])
        api.encode(video, tmp_path / "a.nerv360", quick.replace(epochs=1, views=3))
    assert sizes == [3] * 6
