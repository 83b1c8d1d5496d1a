"""Backends against the network itself, strips against the whole, and what a decoder keeps."""

import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from helpers.limits import at_most_bytes
from helpers.processes import wait_for
from torch.utils.flop_counter import FlopCounterMode

import nerv360
from nerv360 import api
from nerv360.backends import registry, tiling
from nerv360.backends.cache import LRUCache
from nerv360.backends.registry import BACKENDS, choose_backend, create_runner
from nerv360.codec.decoder import Decoder
from nerv360.codec.network_decoder import NetworkDecoder
from nerv360.config import preset_for
from nerv360.errors import ArgumentError, MissingExtra
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime, LatentGrid
from nerv360.models.build import build
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.network_config import NetworkConfig
from nerv360.quality import psnr
from nerv360.training.configure import configure
from nerv360.types import Picture

WIDTHS = (14, 13, 12, 12, 12)
GRIDS = (LatentGrid(24, 2, 4), LatentGrid(8, 3, 0), LatentGrid(2, 2, 0), LatentGrid(1, 1, 0))
NETWORKS = {
    "nerv360": NetworkConfig(192, 96, WIDTHS),
    "half": NetworkConfig(192, 96, WIDTHS, last_block="half"),
    "none": NetworkConfig(192, 96, WIDTHS, last_block="none"),
    "expanded after": NetworkConfig(192, 96, WIDTHS, expand_first=False),
    "narrow": NetworkConfig(192, 96, (4, 4, 4, 4, 4)),
    "odd": NetworkConfig(192, 96, (9, 8, 7), encoder_strides=(2, 3), decoder_strides=(2, 3), kernels=(1, 3)),
    "grids": NetworkConfig(192, 96, (8, 8, 8, 8, 8), "nerv360-grid", grids=GRIDS),
    "hnerv": NetworkConfig(192, 96, WIDTHS, "hnerv", kernels=(1, 3, 5, 5)),
    "hnerv-boost": NetworkConfig(192, 96, WIDTHS, "hnerv-boost", conditions=()),
}
VIEW = Viewport(20, 30, 0, 70, None, 96, 72)
CPU = torch.device("cpu")


def network(name: str) -> DecoderNetwork:
    """With weights that leave no part of it idle."""
    torch.manual_seed(0)
    made = build(NETWORKS[name]).eval()
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made


def inputs(made: DecoderNetwork, view: Viewport) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    torch.manual_seed(1)
    footprints = made.footprints(view)
    shapes = [(1, each.channels, *each.size(192, 96)) for each in made.config.latents]
    latents = [window.crop(torch.randn(shape)) for window, shape in zip(made.windows(view), shapes, strict=True)]
    features = made.features(latents, 0.3, [footprint.window for footprint in footprints])
    return made.sample(features, footprints, FrameTime(0, 1)), made.modulations(0.3, [view])


def drawn(made: DecoderNetwork, sampled: list[torch.Tensor], modulations: list[torch.Tensor]) -> Picture:
    """The obvious version."""
    picture = made.draw(sampled, modulations)[0].permute(1, 2, 0)
    return (picture * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_backends_draw_what_the_network_draws(name: str, backend: str) -> None:
    made = network(name)
    runner = create_runner(backend, made, CPU)
    for view in (VIEW, replace(VIEW, width=48, pitch_deg=-80), VIEW):
        sampled, modulations = inputs(made, view)
        picture, expected = runner.draw(sampled, modulations), drawn(made, sampled, modulations)
        assert picture.dtype == np.uint8
        assert expected.std() > 5
        assert psnr(picture, expected) > 60  # a level in a few places: 70 dB and more


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_show_a_fitted_file_alike(encoded: Path, fitted_grids: Path, backend: str) -> None:
    for path in (encoded, fitted_grids):
        with nerv360.open(path, backend=backend) as decoder:
            reader = NetworkDecoder(decoder.container, decoder.container.segment_of(0), "torch")
            for frame in (0, 3, 5):
                view = replace(decoder.native_view(), yaw_deg=60.0 * frame, pitch_deg=15.0 * frame)
                world = reader.world_view(frame, view)
                with torch.inference_mode():
                    expected = reader.network.decode(reader.latents(frame, world), reader.at(frame), world)
                levels = (expected[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
                assert psnr(decoder.viewport(frame, view), levels) > 60


def test_the_polynomial_is_a_sine() -> None:
    import openvino
    from openvino import opset13 as ops

    from nerv360.backends.openvino import _polynomial_sine

    angle = ops.parameter([20001], np.float32)
    model = openvino.Model([_polynomial_sine(angle.output(0)).output(0)], [angle])
    values = np.linspace(-60, 60, 20001, dtype=np.float32)
    result = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)[0]
    assert np.abs(result - np.sin(values.astype(np.float64))).max() < 1e-5  # 4e-6 at 60, 6e-7 within one turn


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["nerv360", "half", "none", "expanded after", "grids", "odd"])
@torch.inference_mode()
def test_strips_make_the_whole_picture(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(name)
    assert isinstance(made, DecoderNetwork)
    sampled, modulations = inputs(made, replace(VIEW, height=288))
    runner = create_runner(backend, made, CPU)
    whole = runner.draw(sampled, modulations)
    for size in (1 << 14, 1 << 19, 1 << 20):
        monkeypatch.setattr(tiling, "STRIP_BYTES", size)
        pictures = tiling.draw_in_strips(runner, made, sampled, modulations)
        assert np.abs(pictures.astype(int) - whole).max() <= 1
        assert psnr(pictures, whole) > 60


def test_strips_without_their_margin_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network("nerv360")
    monkeypatch.setattr(tiling, "STRIP_BYTES", 1 << 14)
    monkeypatch.setattr(type(made), "receptive_margin", 0)
    with torch.inference_mode():
        sampled, modulations = inputs(made, replace(VIEW, height=288))
        runner = create_runner("torch", made, CPU)
        whole = runner.draw(sampled, modulations)
        assert np.abs(tiling.draw_in_strips(runner, made, sampled, modulations).astype(int) - whole).max() > 5


@pytest.mark.parametrize("rows", [12, 13, 45])
def test_no_row_is_drawn_more_than_twice(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network("nerv360")
    monkeypatch.setattr(tiling, "STRIP_BYTES", 1)
    with torch.inference_mode():
        sampled, modulations = inputs(made, replace(VIEW, height=24 * rows))
        runner, drawn_rows = create_runner("torch", made, CPU), []
        draw = runner.draw
        monkeypatch.setattr(runner, "draw", lambda parts, m: drawn_rows.append(parts[0].shape[-2]) or draw(parts, m))
        tiling.draw_in_strips(runner, made, sampled, modulations)
    assert len(drawn_rows) > 1
    assert sum(drawn_rows) <= 2 * rows


@pytest.mark.parametrize("cells", range(1, 14))
@pytest.mark.parametrize("margin", [0, 1, 2])
def test_strips_cover_every_row_once(cells: int, margin: int) -> None:
    for rows in range(2 * margin + 1, cells):
        end = 0
        for top, first, stop in tiling.strips(cells, rows, margin):
            assert first == end < stop
            assert 0 <= top <= cells - rows
            assert top == 0 or first - top >= margin
            assert top + rows == cells or top + rows - stop >= margin
            end = stop
        assert end == cells


def test_a_paused_frame_is_expanded_once(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    with nerv360.open(encoded) as decoder:
        decoder.viewport(0, VIEW)
        features = decoder._decoder(decoder.container.segment_of(0)).network.features
        monkeypatch.setattr(
            decoder._decoder(decoder.container.segment_of(0)).network,
            "features",
            lambda *given: calls.append(1) or features(*given),
        )
        turned = [decoder.viewport(0, replace(VIEW, yaw_deg=40.0 * turn, pitch_deg=20.0 * turn)) for turn in range(5)]
        assert len(calls) == 1  # the second view has the whole expanded
        decoder.viewport(1, VIEW)
        assert len(calls) == 2
    for turn, picture in enumerate(turned):
        with nerv360.open(encoded) as fresh:
            assert psnr(fresh.viewport(0, replace(VIEW, yaw_deg=40.0 * turn, pitch_deg=20.0 * turn)), picture) > 60


def test_a_paused_panorama_is_drawn_once(video: Path, quick: Any, tmp_path: Path) -> None:
    nerv360.encode(video, tmp_path / "a.nerv360", quick.replace(model="hnerv", epochs=1))
    with nerv360.open(tmp_path / "a.nerv360") as decoder:
        panorama = decoder.panorama(2)
        with (
            nerv360.open(tmp_path / "a.nerv360", precision="int8") as other,
            pytest.raises(ArgumentError, match="dB by it"),
        ):
            other.viewport(0, VIEW)
        runner = decoder._decoder(decoder.container.segment_of(2)).runner
        runner.draw = None  # type: ignore[assignment, method-assign]
        assert np.array_equal(decoder.viewport(2, VIEW), extract_viewport(panorama, VIEW))
        panorama[:] = 0  # the caller's own
        assert decoder.viewport(2, VIEW).any()


def test_play_gives_the_pictures_of_viewport(encoded: Path, fitted_grids: Path) -> None:
    for path in (encoded, fitted_grids):
        with nerv360.open(path) as decoder, nerv360.open(path) as other:
            views = [(frame, replace(VIEW, yaw_deg=30.0 * frame)) for frame in (0, 1, 2, 5, 4, 4, 0)]
            for picture, (frame, view) in zip(decoder.play(views), views, strict=True):
                assert psnr(picture, other.viewport(frame, view)) > 60
            abandoned = decoder.play(views)
            next(abandoned)
            abandoned.close()
            assert decoder.viewport(3, VIEW).shape == (72, 96, 3)


def test_play_fails_where_it_comes_to_the_fault(encoded: Path) -> None:
    with nerv360.open(encoded) as decoder:
        playing = decoder.play([(0, VIEW), (1, VIEW), (99, VIEW)])
        assert len([next(playing), next(playing)]) == 2
        with pytest.raises(ArgumentError, match="frame 99"):
            next(playing)


def test_which_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend(None, "cpu") == "openvino"
    assert choose_backend(None, "cuda") == "torch"
    with pytest.raises(ArgumentError, match="backend=tensorrt: must be one of openvino, onnxruntime, torch"):
        choose_backend("tensorrt", "cpu")
    with pytest.raises(ArgumentError, match="on cuda, take torch"):
        choose_backend("openvino", "cuda")
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "openvino" else name)
    assert choose_backend(None, "cpu") == "onnxruntime"
    with pytest.raises(MissingExtra, match=r"pip install 'nerv360\[cpu\]'"):
        choose_backend("openvino", "cpu")
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "onnx" else name)
    assert choose_backend(None, "cpu") == "torch"


def test_eight_bits_are_nearly_as_good(encoded: Path, fitted_grids: Path, video: Path) -> None:
    for path in (encoded, fitted_grids):
        scores = [api.eval_file(path, video, precision=precision).mean.psnr_db for precision in ("float", "int8")]
        assert scores[0] != scores[1]  # it is another computation
        assert scores[0] - scores[1] < 0.2


def test_precisions_that_are_not_there(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for precision, backend, message in (
        ("fp4", None, "precision=fp4"),
        ("int8", "torch", "not on torch"),
        ("float16", None, "precision=float16: runs on the device cuda alone"),
    ):
        with pytest.raises(ArgumentError, match=message):
            nerv360.open(encoded, backend=backend, precision=precision)
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(MissingExtra, match="needs onnxruntime"):
        nerv360.open(encoded, precision="int8")


def test_a_device_that_is_not_there(encoded: Path) -> None:
    for device in ("tpu", "cuda"):
        with pytest.raises(ArgumentError, match=f"device={device}"):
            nerv360.open(encoded, device=device)


@pytest.mark.parametrize("backend", BACKENDS)
def test_closing_gives_threads_and_memory_back(encoded: Path, backend: str) -> None:
    process, behind = psutil.Process(), []

    def use() -> None:
        with nerv360.open(encoded, backend=backend) as decoder:
            decoder.viewport(0, VIEW)
            decoder.viewport(1, VIEW)
            reader = decoder._decoder(decoder.container.segment_of(0))
            behind.extend(weakref.ref(each) for each in (reader, reader.network, reader.runner))

    for _ in range(8):
        use()
    threads = process.num_threads()
    with at_most_bytes(40 << 20):  # 22 MB while one is open
        for _ in range(16):
            use()
    assert not any(each() for each in behind)
    wait_for(lambda: process.num_threads() <= threads)  # one that has been joined is still ending for a moment
    assert not any(thread.name.startswith("nerv360-") for thread in threading.enumerate())


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_ten_thousand_views_do_not_grow_memory(encoded: Path, fitted_grids: Path, backend: str) -> None:
    random = np.random.default_rng(0)
    sizes = [(48, 48), (96, 72), (120, 60), (72, 96), (144, 48), (33, 35)]

    def look(decoder: Decoder, times: int) -> None:
        for number in range(times):
            if number % 50 == 0:
                width, height = sizes[random.integers(len(sizes))]
            yaw, pitch = float(random.uniform(-180, 180)), float(random.uniform(-90, 90))
            decoder.viewport(int(random.integers(6)), Viewport(yaw, pitch, 0, 70, None, width, height))

    for path in (encoded, fitted_grids):
        with nerv360.open(path, backend=backend) as decoder:
            look(decoder, 2500)
            with at_most_bytes(16 << 20):
                look(decoder, 2500)


def test_more_is_kept_while_there_is_room() -> None:
    kept: LRUCache[str, bytes] = LRUCache(2, max_size=10, size_of=len)
    for key, size in (("a", 3), ("b", 3), ("c", 4)):
        kept.get(key, lambda size=size: bytes(size))  # type: ignore[misc]
    assert len(kept) == 3
    kept.get("a", bytes)  # used again
    kept.get("large", lambda: bytes(7))
    assert [kept.get(key, lambda: b"anew") == b"anew" for key in ("a", "large")] == [False, False]
    kept.get("huge", lambda: bytes(99))
    assert len(kept) == 2
    assert kept.get("large", lambda: b"anew") != b"anew"
    plain: LRUCache[int, int] = LRUCache(2)
    for key in range(4):
        plain.get(key, lambda key=key: key)  # type: ignore[misc]
    assert len(plain) == 2


def test_a_cheaper_end_costs_less() -> None:
    costs = []
    for name in ("tiny", "tiny-half", "tiny-none"):
        made = build(configure(preset_for("nerv360", name), 192, 96))
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            made.draw(*inputs(made, VIEW))
        costs.append(counter.get_total_flops())
    assert costs[0] > 1.3 * costs[1] > 1.3 * costs[2]
