"""What a machine with a GPU does, on a second device in the host's memory (helpers/second_device.py)."""

import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.progress import Stopped, on_steps, stop_at
from helpers.second_device import DEVICE, DeviceMismatch, Graph, second_device

from nerv360.backends import tiling
from nerv360.backends.pytorch import TorchRunner
from nerv360.backends.tiling import draw_in_strips
from nerv360.codec.decoder import open_file
from nerv360.codec.encoder import checkpoint_path, encode_clip
from nerv360.config import EncodingConfig, preset_for, presets_of
from nerv360.evaluation.results_store import read_rows
from nerv360.geometry.viewport import Viewport
from nerv360.latents.context_model import ContextModel
from nerv360.latents.grid import FrameTime, interpolation_weights
from nerv360.models.build import build, channels_last
from nerv360.models.registry import networks
from nerv360.progress import both
from nerv360.quality import psnr
from nerv360.training import fit, step
from nerv360.training.ahead import made_ahead
from nerv360.training.checkpoint import Progress
from nerv360.training.configure import configure
from nerv360.training.losses import distortion
from nerv360.training.optimisers import create_optimiser
from nerv360.training.running_means import RunningMeans
from nerv360.training.sampling import TrainingSample
from nerv360.training.step import train_step
from nerv360.training.training_module import TrainingModule
from nerv360.transfer import to_device
from nerv360.types import Picture
from nerv360.video.clip import Clip

WIDTH, HEIGHT, FRAMES = 144, 72, 4
SMALL = preset_for("nerv360", "tiny").replace(channels=(14, 12, 12, 12, 12), view_width=48, view_height=48)
GRID = preset_for("nerv360-grid", "medium").replace(view_width=48, view_height=48)
CONFIGS = {
    "nerv360": SMALL,
    "nerv360, its rate fitted": SMALL.replace(rate_weight=1.0),
    "nerv360, two views": SMALL.replace(views=2),
    "hnerv": SMALL.replace(model="hnerv"),
    "hnerv-boost": SMALL.replace(model="hnerv-boost"),
    "nerv360-grid": GRID,
}
VIEWS = [Viewport(yaw, pitch, width=48, height=48) for yaw, pitch in ((175, 10), (0, 80))]


def fitting_on(device: torch.device, config: EncodingConfig) -> TrainingModule:
    torch.manual_seed(0)
    rate_weight = config.rate_target.rate_weight
    return TrainingModule(channels_last(build(configure(config, WIDTH, HEIGHT), FRAMES).to(device)), rate_weight).to(
        device
    )


def two_steps(fitting: TrainingModule, config: EncodingConfig, done: float) -> RunningMeans:
    """How the fit goes after them, with that part of it done."""
    optimiser, progress = (
        create_optimiser(fitting, config.optimisation),
        Progress(rate_weight=config.rate_target.rate_weight),
    )
    device = next(fitting.parameters()).device
    means = RunningMeans(progress, device)
    frame = (np.arange(3 * HEIGHT * WIDTH) * 37 % 256).astype(np.uint8).reshape(3, HEIGHT, WIDTH).transpose(1, 2, 0)

    def sample(first: int) -> TrainingSample:
        panorama = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].to(device, non_blocking=True)
        views = [*VIEWS[first:], *VIEWS][: config.view_sampling.views]
        fitting.network.prepare_training(1, views)
        return TrainingSample(panorama, 1, FRAMES, views, views)

    for seen in made_ahead(sample, iter(range(2)), device):
        train_step(fitting, optimiser, seen, 1e-3, done, config, progress, means)
        progress.step += 1
    return means


def loss_of(means: RunningMeans) -> float:
    progress = Progress()
    means.read(progress)
    return progress.loss


@pytest.mark.parametrize("done", [pytest.param(0.1, id="early", marks=pytest.mark.slow), pytest.param(0.9, id="late")])
@pytest.mark.parametrize(
    "config",
    [pytest.param(each, id=name, marks=[pytest.mark.slow] if "," in name else []) for name, each in CONFIGS.items()],
)
def test_steps_equal_those_of_the_cpu_and_do_not_wait(config: EncodingConfig, done: float) -> None:
    with second_device() as waits:
        there = fitting_on(DEVICE, config)
        waits.clear()
        means = two_steps(there, config, done)
        assert not waits
        loss = loss_of(means)
        assert len(waits) == 1
    here = fitting_on(torch.device("cpu"), config)
    assert loss == pytest.approx(loss_of(two_steps(here, config, done)), rel=1e-6)
    for name, tensor in here.state_dict().items():
        off = (there.state_dict()[name].cpu() - tensor).abs() > 1e-4  # steps are of 1e-3, those of grids larger
        assert off.sum() <= tensor.numel() // 5000, name  # one of 10,000: the sign of a gradient of almost 0 decides


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
        assert to_device(torch.ones(3), DEVICE).device == DEVICE and len(waits) == 4
        assert torch.ones(3).to(DEVICE).device == DEVICE and len(waits) == 5


def encode_on(
    device: torch.device, video: Path, output: Path, config: EncodingConfig, last_step: int | None = None
) -> None:
    encode_clip(Clip.open(video, frames=3), output, config, device, stop_at(last_step), "float")


def pictures(path: Path, device: str, precision: str | None = None) -> list[Picture]:
    """Views and a panorama of a file."""
    with open_file(path, backend="torch", device=device, precision=precision) as decoder:
        views = [decoder.viewport(frame, view) for frame, view in zip((0, 2), VIEWS, strict=True)]
        return [*views, *decoder.play([(1, VIEWS[0])]), decoder.panorama(1)]


def shrunk(config: EncodingConfig) -> EncodingConfig:
    size = config.replace(channels=(14, 12, 12, 12, 12), decoder_size=1, view_width=48, view_height=48)
    return size.replace(encoder_channels=8, epochs=2)


def presets_shrunk(model: str) -> list[Any]:
    """Those of a model that are alike then once; but for the first, and of the baselines, they are slow."""
    shrunken = {shrunk(preset_for(model, name)): f"{model} {name}" for name in presets_of(model)}
    return [
        pytest.param(config, id=name, marks=[pytest.mark.slow] if number or "hnerv" in model else [])
        for number, (config, name) in enumerate(shrunken.items())
    ]


@pytest.mark.parametrize("config", [each for model in networks() for each in presets_shrunk(model)])
def test_a_clip_is_encoded_resumed_and_decoded(
    config: EncodingConfig, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(fit, "MOST_SECONDS", 0.0)
    known, output = tmp_path / "known.nerv360", tmp_path / "output.nerv360"
    encode_on(torch.device("cpu"), video, known, config)
    with second_device():
        with pytest.raises(Stopped):
            encode_on(DEVICE, video, output, config, last_step=4)
        assert checkpoint_path(output).exists()
        encode_on(DEVICE, video, output, config)
        there = pictures(output, str(DEVICE))
        single = pictures(output, str(DEVICE), "float")
    here = pictures(output, "cpu")
    assert all(psnr(picture, same) > 85 for picture, same in zip(single, here, strict=True))
    for picture, same, expected in zip(there, here, pictures(known, "cpu"), strict=True):
        assert expected.std() > 1
        assert psnr(picture, same) > 58  # half precision; the least was 59.0
        assert psnr(same, expected) > 66  # a weight may round to another integer; the least was 69.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        shrunk(GRID).replace(bitrate=2e6),
        shrunk(SMALL).replace(rate_weight=1.0, quality_db=25.0),
        shrunk(SMALL).replace(views=2, roll_deg=(-180, 180), hfov_deg=(60, 110)),
    ],
    ids=["a bitrate", "a quality", "any view"],
)
def test_targets_and_free_views_are_fitted_alike(config: EncodingConfig, video: Path, tmp_path: Path) -> None:
    known, output = tmp_path / "known.nerv360", tmp_path / "output.nerv360"
    encode_on(torch.device("cpu"), video, known, config.replace(epochs=6))
    with second_device():
        encode_on(DEVICE, video, output, config.replace(epochs=6))
    for same, expected in zip(pictures(output, "cpu"), pictures(known, "cpu"), strict=True):
        assert psnr(same, expected) > 60


@pytest.mark.parametrize("config", [SMALL, GRID], ids=["nerv360", "nerv360-grid"])
def test_a_fit_waits_for_reports_alone(
    config: EncodingConfig, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "REPORT_STEPS", 4)
    clip = Clip.open(video, frames=3)
    steps: list[int] = []
    with second_device() as waits:
        torch.manual_seed(0)
        network = build(configure(config, clip.width, clip.height), 3).to(DEVICE)
        module = TrainingModule(network, config.rate_target.rate_weight).to(DEVICE)
        fitting = fit.Fit(module, clip, config.replace(epochs=4), tmp_path / "a.checkpoint")
        monkeypatch.setattr(fitting, "_save", lambda: None)
        waits.clear()
        fitting.run(lambda progress, total: steps.append(len(waits)))
    assert steps == [1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4]  # the first step's, and every fourth's


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(SMALL, id="nerv360"),
        pytest.param(SMALL.replace(model="hnerv"), id="hnerv", marks=pytest.mark.slow),
        pytest.param(GRID, id="nerv360-grid"),
    ],
)
def test_half_precision_is_of_convolutions_alone(config: EncodingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    found: set[tuple[str, torch.dtype]] = set()

    def noted(module: torch.nn.Module, given: Any, result: Any) -> None:
        tensors = result if isinstance(result, tuple) else (result,)
        found.update((type(module).__name__, each.dtype) for each in tensors)

    fitting = fitting_on(DEVICE, config)
    for module in fitting.modules():
        if isinstance(module, torch.nn.Conv2d | ContextModel):
            module.register_forward_hook(noted)
    monkeypatch.setattr(step, "distortion", lambda *given: found.add(("loss", given[0].dtype)) or distortion(*given))
    fitting.precision = torch.bfloat16
    with second_device() as waits:
        waits.clear()
        half = two_steps(fitting, config, 0.9)
        assert not waits
    assert found - {("ContextModel", torch.float32)} == {("Conv2d", torch.bfloat16), ("loss", torch.float32)}
    assert loss_of(half) == pytest.approx(loss_of(two_steps(fitting_on(DEVICE, config), config, 0.9)), rel=0.02)


def test_a_fit_goes_on_in_another_precision(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(fit, "MOST_SECONDS", 0.0)
    steps, output, cpu = list[int](), tmp_path / "a.nerv360", torch.device("cpu")
    for precision, last in (("bfloat16", 2), ("float", 4), ("bfloat16", None)):
        watched = on_steps(lambda update: steps.append(update.done))
        stop = stop_at(last)
        try:
            encoded = encode_clip(
                Clip.open(video, frames=3), output, shrunk(SMALL), cpu, both(watched, stop), precision
            )
        except Stopped:
            continue
    assert steps == [1, 2, 2, 3, 4, 4, 5, 6]
    assert "on cpu in bfloat16" in encoded.summary


@torch.inference_mode()
def test_a_gpu_draws_a_view_whole_and_captures_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(configure(SMALL, WIDTH, HEIGHT)).eval()
    runner = TorchRunner(network, DEVICE, half=True)
    graphs: list[Graph] = []
    capture = runner._capture
    monkeypatch.setattr(runner, "_capture", lambda *args: graphs.append((made := capture(*args)).graph) or made)
    monkeypatch.setattr(tiling, "STRIP_BYTES", 1)
    modulations = [each.to(DEVICE) for each in network.modulations(0.5, VIEWS[:1])]
    for rows in (40, 20, 40):
        features = torch.linspace(-1, 1, 14 * rows * 2).reshape(1, 14, rows, 2).to(DEVICE)
        picture = draw_in_strips(runner, network, [features], modulations)
        half = runner.network.draw([features.half()], [each.half() for each in modulations])
        assert np.array_equal(picture, half[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).cpu().numpy())
    assert len(graphs) == 2 and graphs[0].pool is graphs[1].pool


def test_threads_capture_one_after_the_other() -> None:
    network = build(configure(SMALL.replace(model="hnerv"), WIDTH, HEIGHT)).eval()
    embeddings = [torch.full((1, 1, 3, 6), float(number)) for number in range(4)]

    @torch.inference_mode()
    def draw(embedding: torch.Tensor) -> Picture:
        return TorchRunner(network, DEVICE, half=True).draw([embedding.to(DEVICE)], [])

    with ThreadPoolExecutor(4) as threads:  # the second device fails where two capture at once
        drawn = list(threads.map(draw, embeddings))
    for picture, embedding in zip(drawn, embeddings, strict=True):
        assert psnr(picture, TorchRunner(network, torch.device("cpu")).draw([embedding], [])) > 50


@pytest.mark.parametrize(
    "config", [SMALL, SMALL.replace(model="hnerv"), GRID], ids=["nerv360", "hnerv", "nerv360-grid"]
)
@torch.inference_mode()
def test_features_are_channels_last_at_every_convolution(config: EncodingConfig) -> None:
    network = channels_last(build(configure(config, WIDTH, HEIGHT)).eval().to(DEVICE))
    found: list[bool] = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size != (1, 1):
            module.register_forward_pre_hook(
                lambda module, given: found.append(given[0].is_contiguous(memory_format=torch.channels_last))
            )
    moment = FrameTime(1, FRAMES)
    latents = [
        torch.rand(
            len(interpolation_weights(each.key_interval, moment)),
            each.channels,
            window.rows,
            window.columns,
            device=DEVICE,
        )
        for each, window in zip(network.config.latents, network.windows(VIEWS[0]), strict=True)
    ]
    network.decode(latents, moment, VIEWS[0])
    assert len(found) >= 4 and all(found)


@pytest.mark.parametrize("model", ["nerv360", pytest.param("hnerv", marks=pytest.mark.slow)])
def test_the_benchmark_of_a_gpu_runs(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    benchmark: Any = importlib.import_module("cuda")
    for name, value in {"WARM_UP": 0, "REPEATS": 1, "MATRIX": 8, "COPY": 64, "TABLE": tmp_path / "cuda.tsv"}.items():
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setattr(torch, "compile", lambda function, mode: function)  # it knows no second device
    benchmark.measure(model, 140_000, WIDTH, HEIGHT, DEVICE)
    rows = read_rows(tmp_path / "cuda.tsv")
    assert len(rows) == 6 and {row["device"] for row in rows} == {"second device"}
    assert all(float(row["psnr_to_float32_db"]) > 45 for row in rows)
