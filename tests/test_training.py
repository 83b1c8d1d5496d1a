"""The loss against its formula; the schedule; determinism, resumption and recovery of a fit."""

import math
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pytorch_msssim
import torch
from helpers.processes import running, wait_for
from helpers.progress import Stopped, on_steps, stop_at
from safetensors import safe_open
from safetensors.torch import save_file

from nerv360.api import encode
from nerv360.codec.encoder import checkpoint_path
from nerv360.config import EncodingConfig, preset_for, presets_of
from nerv360.errors import ArgumentError, TrainingError
from nerv360.models.build import build
from nerv360.progress import FitUpdate
from nerv360.training import checkpoint, step
from nerv360.training import fit as fitting
from nerv360.training.configure import configure
from nerv360.training.losses import distortion, ms_ssim, ms_ssim_window
from nerv360.training.optimisers import learning_rate
from nerv360.training.sampling import sample_view, seen_parts, training_sample
from nerv360.training.training_module import TrainingModule
from nerv360.video.clip import Clip
from nerv360.video.shuffle import shuffled


def test_loss_is_equation_2() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(1, 3, 48, 72, dtype=torch.float64), torch.rand(1, 3, 48, 72, dtype=torch.float64)
    rows, columns = (torch.exp(-2j * math.pi * torch.outer(torch.arange(n), torch.arange(n)) / n) for n in (48, 72))
    spectrum = rows.to(torch.complex128) @ (a - b).to(torch.complex128) @ columns.to(torch.complex128)
    fourier = (spectrum.real.abs().mean() + spectrum.imag.abs().mean()) / 2
    similarity = pytorch_msssim.ms_ssim(a, b, data_range=1.0, win_size=3)
    expected = fourier + 60 * 0.7 * (a - b).abs().mean() + 60 * 0.3 * (1 - similarity)
    torch.testing.assert_close(distortion(a, b, 60, 0.7), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("side", "window"), [(1080, 11), (161, 11), (160, 9), (120, 7), (48, 3), (33, 3)])
def test_ms_ssim_window(side: int, window: int) -> None:
    assert ms_ssim_window(side, side) == window
    pytorch_msssim.ms_ssim(torch.rand(1, 1, side, side), torch.rand(1, 1, side, side), win_size=window)


@pytest.mark.parametrize(("height", "width"), [(48, 72), (67, 121), (176, 161)])
def test_ms_ssim_and_its_gradient_are_those_of_pytorch_msssim(height: int, width: int) -> None:
    torch.manual_seed(0)
    source = torch.rand(2, 3, height, width)
    decoded = (0.8 * source + 0.2 * torch.rand(2, 3, height, width)).requires_grad_()
    window = ms_ssim_window(width, height)
    ours, theirs = ms_ssim(decoded, source), pytorch_msssim.ms_ssim(decoded, source, data_range=1.0, win_size=window)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    one, other = (torch.autograd.grad(each, decoded)[0] for each in (ours, theirs))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * other.abs().max().item())


def test_ms_ssim_needs_33_pixels() -> None:
    with pytest.raises(ArgumentError, match="33"):
        ms_ssim_window(32, 100)


def test_learning_rate() -> None:
    config = EncodingConfig.of(learning_rate=1e-2, learning_rate_start=1e-4, warmup=0.1)
    assert learning_rate(0, 1000, config.optimisation) == pytest.approx(1e-4)
    assert learning_rate(100, 1000, config.optimisation) == pytest.approx(1e-2)
    assert learning_rate(550, 1000, config.optimisation) == pytest.approx(5e-3)
    assert learning_rate(1000, 1000, config.optimisation) == pytest.approx(0)


def test_views_cover_the_sphere_evenly(video: Path) -> None:
    clip, config = Clip.open(video), EncodingConfig.of(hfov_deg=(60, 110), roll_deg=(-180, 180))
    views = [sample_view(config, clip.width, frame, epoch) for frame in range(4) for epoch in range(500)]
    for values, low, high in (
        ([math.sin(math.radians(v.pitch_deg)) for v in views], -1, 1),
        ([v.yaw_deg for v in views], -180, 180),
        ([v.hfov_deg for v in views], 60, 110),
        ([v.roll_deg for v in views], -180, 180),
    ):
        counts, _ = np.histogram(values, bins=8, range=(low, high))
        assert counts.sum() == 2000
        assert counts.min() > 200


def test_centres_may_be_uniform_in_angle_or_near_the_equator() -> None:
    def pitches(**settings: object) -> list[float]:
        config = EncodingConfig.of(**settings)
        return sorted(sample_view(config, 192, 0, number).pitch_deg for number in range(1000))

    for found, low, high in (
        (pitches(centres="angle"), -90, 90),
        ([math.degrees(math.sin(math.radians(p))) for p in pitches(pitch_deg=(-45, 45))], -40.51, 40.51),
        (pitches(centres="angle", pitch_deg=(0, 30)), 0, 30),
    ):
        np.testing.assert_allclose(found, np.linspace(low, high, 1000), atol=0.01 * (high - low))
    with pytest.raises(ArgumentError, match=r"pitch_deg=30:0: the first must not exceed the second"):
        EncodingConfig.of(pitch_deg=(30, 0))


@pytest.mark.parametrize("memory", [1 << 30, 160 * 80 * 3 * 3, 160 * 80 * 3 * 2])
def test_shuffled_frames_can_be_taken_up_anywhere(video: Path, memory: int) -> None:
    clip = Clip.open(video)
    whole = shuffled(clip, 0, 0, memory)
    sequence = [next(whole) for _ in range(20)]
    for epoch in range(3):
        assert sorted(index for index, _ in sequence[6 * epoch : 6 * epoch + 6]) == list(range(6))
    later = shuffled(clip, 0, 7, memory)
    assert [next(later)[0] for _ in range(13)] == [index for index, _ in sequence[7:]]
    later.close()
    whole.close()
    frames = list(clip)
    assert all(np.array_equal(frame, frames[index]) for index, frame in sequence)


@pytest.mark.parametrize("model", ["nerv360", "nerv360-grid", "hnerv"])
def test_a_step_reads_no_more_of_a_panorama_than_it_says(model: str, make_video: Callable[..., Path]) -> None:
    shape: dict[str, object] = {"nerv360-grid": {}}.get(model, {"channels": (12,) * 5})
    sizes: dict[str, object] = {"view_width": 48, "view_height": 48, "hfov_deg": (20, 20)}
    config = preset_for(model, presets_of(model)[0]).replace(**sizes, **shape)
    torch.manual_seed(0)
    clip = Clip.open(make_video(768, 384, 1))
    module, (frame,) = TrainingModule(build(configure(config, 768, 384), 1), 0.0), clip
    shares = []
    for number in range(0, 40, 5):
        parts = seen_parts(module.network, config, clip, 0, number)
        other = np.full_like(frame, 255)
        for part in parts or [(slice(None), slice(None))]:
            other[part] = frame[part]
        samples = (training_sample(each, 0, 1, number, config, None, torch.device("cpu")) for each in (frame, other))
        pairs = zip(*(module(sample, None)[:2] for sample in samples), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
        shares.append(np.mean(frame == other))
    assert (np.mean(shares) < 0.95) == (model != "hnerv")


def test_parts_of_a_frame_are_those_of_the_whole(video: Path) -> None:
    """Cut before they are converted: colours, which are coarser, depend on what lies around."""
    clip, random = Clip.open(video, frames=1), np.random.default_rng(0)
    (picture,) = clip.pictures(0, 1)
    assert clip._converts_alone(picture)
    whole = clip.panorama(picture)
    for _ in range(100):
        (top, bottom), (left, right) = (np.sort(random.choice(size + 1, 2, replace=False)) for size in whole.shape[:2])
        part = slice(top, bottom), slice(left, right)
        assert np.array_equal(clip.panorama(picture, [part])[part], whole[part])


def test_interrupted_encoding_ends_with_the_same_bytes(
    video: Path, encoded: Path, quick: EncodingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "again.nerv360"
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(fitting, "MOST_SECONDS", 0.0)

    with pytest.raises(KeyboardInterrupt):
        encode(video, output, quick, on_progress=stop_at(17, KeyboardInterrupt))
    assert not output.exists()
    assert checkpoint_path(output).exists()
    steps: list[int] = []
    encode(video, output, quick, on_progress=on_steps(lambda step: steps.append(step.done)))
    assert steps[0] == 17
    assert output.read_bytes() == encoded.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.nerv360"]


def saved_step(path: Path) -> int:
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        return int(file.metadata()["step"])


def test_a_killed_encoding_goes_on(video: Path, encoded: Path, quick: EncodingConfig, tmp_path: Path) -> None:
    output = tmp_path / "killed.nerv360"
    code = (
        "import pickle, signal, torch; torch.set_num_threads(1)\n"
        "from nerv360.training import fit; fit.SAVE_SECONDS = fit.MOST_SECONDS = 0.0\n"
        "from nerv360 import api; from nerv360.progress import FitUpdate\n"
        f"quick = pickle.loads({pickle.dumps(quick)!r})\n"
        "def pause_at_4(update):\n"
        "    if isinstance(update, FitUpdate) and update.done == 4: signal.pause()\n"
        f"api.encode({str(video)!r}, {str(output)!r}, quick, on_progress=pause_at_4)\n"
    )
    with running([sys.executable, "-c", code]):
        wait_for(lambda: saved_step(checkpoint_path(output)) == 3)
    assert not output.exists()
    steps: list[int] = []
    encode(video, output, quick, on_progress=on_steps(lambda step: steps.append(step.done)))
    assert steps[0] == 4
    assert output.read_bytes() == encoded.read_bytes()


def test_a_damaged_or_foreign_checkpoint_is_not_used(video: Path, quick: EncodingConfig, tmp_path: Path) -> None:
    output = tmp_path / "fresh.nerv360"
    checkpoint_path(output).write_bytes(b"\x08\0\0\0\0\0\0\0garbage")
    steps: list[int] = []
    encode(video, output, quick.replace(epochs=1), on_progress=on_steps(lambda step: steps.append(step.done)))
    assert steps[0] == 1


def test_a_gradient_that_is_not_finite_is_skipped(
    video: Path, quick: EncodingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "REPORT_STEPS", 1)
    calls = iter(range(10**6))
    monkeypatch.setattr(step, "distortion", lambda *a: distortion(*a) * (math.nan if next(calls) in (3, 4) else 1.0))
    seen: list[FitUpdate] = []
    encode(video, tmp_path / "a.nerv360", quick.replace(epochs=2), on_progress=on_steps(seen.append))
    assert [p.skipped for p in seen[:7]] == [0, 0, 0, 1, 2, 0, 0]
    assert math.isfinite(seen[-1].loss)


def test_float32_has_all_its_bits_while_a_fit_steps(
    video: Path, quick: EncodingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU cuDNN would take ten of them otherwise."""
    found: list[bool] = []
    original = step.distortion
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(
        step, "distortion", lambda *given: (found.append(torch.backends.cudnn.allow_tf32), original(*given))[1]
    )
    encode(video, tmp_path / "a.nerv360", quick.replace(epochs=1))
    assert found and not any(found) and torch.backends.cudnn.allow_tf32


def test_a_collapsed_loss_returns_to_a_good_state_then_gives_up(
    video: Path, quick: EncodingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SNAPSHOT_STEPS", 5)
    monkeypatch.setattr(fitting, "REPORT_STEPS", 1)
    calls = iter(range(10**6))
    monkeypatch.setattr(step, "distortion", lambda *a: distortion(*a) * (1 if next(calls) < 12 else 100))
    seen: list[FitUpdate] = []
    with pytest.raises(TrainingError, match="lower learning rate"):
        encode(video, tmp_path / "a.nerv360", quick.replace(epochs=50), on_progress=on_steps(seen.append))
    assert seen[-1].recoveries == fitting.MAX_RECOVERIES
    assert seen[-1].rate_scale == 2.0**-fitting.MAX_RECOVERIES
    assert not (tmp_path / "a.nerv360").exists()


@pytest.mark.parametrize("rate_weight", [0.0, 1.0])
def test_where_the_rate_is_fitted_quality_may_fall_slowly(
    video: Path, quick: EncodingConfig, rate_weight: float, tmp_path: Path
) -> None:
    """As it does while the rate gets its weight, most where a clip that stands still begins as itself."""
    clip, config = Clip.open(video), quick.replace(rate_weight=rate_weight)
    module = TrainingModule(build(configure(config, clip.width, clip.height), clip.frames), rate_weight)
    fit = fitting.Fit(module, clip, config, tmp_path / "a.checkpoint")
    progress = fit.progress
    for progress.step in range(1000):
        progress.loss = 1.002**progress.step  # 7.4 times what it was
        fit.recover_from_divergence()
        if progress.recoveries:
            break
    assert bool(progress.recoveries) == (rate_weight == 0)
    progress.loss = 2 * progress.best_loss
    fit.recover_from_divergence()
    assert progress.recoveries == 1 + (rate_weight == 0)  # sudden, it is divergence


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": "1"}, "another version of nerv360 wrote it"),
        ({"version": None}, "another version of nerv360 wrote it"),
        ({"rewound_steps": None}, "fields are missing in it"),
        ({"identity": "other"}, "it is of another video or of other settings"),
    ],
)
def test_a_checkpoint_of_another_version_begins_the_fit_anew(
    video: Path,
    quick: EncodingConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, str | None],
    reason: str,
) -> None:
    output, config = tmp_path / "a.nerv360", quick.replace(epochs=1)
    with pytest.raises(Stopped):
        encode(video, output, config, on_progress=stop_at(3))
    path = checkpoint_path(output)
    assert isinstance(path, Path)
    with safe_open(path, framework="pt") as file:
        metadata = {name: value for name, value in (file.metadata() | change).items() if value is not None}
        del metadata["checksum"]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata | {"checksum": str(checkpoint.checksum(metadata, tensors))})
    steps: list[FitUpdate] = []
    encode(video, output, config, on_progress=on_steps(steps.append))
    assert steps[0].done == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: not used, for {reason}; kept as {path.name}.1, work begins anew"
    ]
