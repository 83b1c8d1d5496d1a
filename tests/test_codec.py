"""A file decodes by itself: to any view, close to the model it was made from."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

import nerv360
from nerv360.codec import resampling, stitching
from nerv360.codec.network_encoder import fitted_latents
from nerv360.codec.segment_writer import write_segment
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError
from nerv360.evaluation.metrics import ws_psnr
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime
from nerv360.models.build import build
from nerv360.quality import psnr
from nerv360.training.configure import configure
from nerv360.training.training_module import TrainingModule
from nerv360.types import BT709
from nerv360.video.clip import Clip


def test_what_the_file_says_of_the_video(encoded: Path) -> None:
    with nerv360.open(encoded) as decoder:
        assert (decoder.width, decoder.height, decoder.frames) == (160, 80, 6)
        assert decoder.frame_rate == 30000 / 1001 or decoder.frame_rate.denominator == 1001
        assert decoder.colour == BT709


@pytest.mark.parametrize(("width", "height"), [(48, 48), (47, 49), (1, 1), (300, 20)])
def test_viewports_of_any_size(encoded: Path, width: int, height: int) -> None:
    with nerv360.open(encoded) as decoder:
        picture = decoder.viewport(5, Viewport(30, -40, 20, 70, None, width, height))
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


def test_file_and_model_give_the_same_picture(video: Path, quick: EncodingConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    clip, config = Clip.open(video), quick.replace(weight_bits=16)
    model = build(configure(config, clip.width, clip.height), clip.frames)
    (embeddings,) = fitted_latents(model, clip)
    write_segment(
        TrainingModule(model, config.rate_target.rate_weight), [embeddings], clip, config, tmp_path / "a.nerv360"
    )
    with nerv360.open(tmp_path / "a.nerv360") as decoder, torch.no_grad():
        for index, yaw, pitch in ((0, 0, 0), (5, 170, 80)):
            view = replace(decoder.native_view(), yaw_deg=yaw, pitch_deg=pitch)
            patch = model.windows(view)[0].crop(torch.from_numpy(embeddings[index : index + 1]))
            expected = model.decode([patch], FrameTime(index, clip.frames), view)[0].permute(1, 2, 0) * 255
            # only the quantisation stands between them
            assert psnr(decoder.viewport(index, view), expected.round().numpy()) > 38


def test_frames_do_not_depend_on_the_order_they_are_asked_in(encoded: Path) -> None:
    view = Viewport(width=48, height=48)
    with nerv360.open(encoded) as decoder:
        forwards = [decoder.viewport(index, view) for index in range(6)]
        backwards = [decoder.viewport(index, view) for index in reversed(range(6))]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_a_group_is_read_alone(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with nerv360.open(encoded) as decoder:
        read: list[int] = []
        chunk = decoder.container.chunk
        monkeypatch.setattr(decoder.container, "chunk", lambda s, index: (read.append(index), chunk(s, index))[1])
        decoder.viewport(5, Viewport(width=48, height=48))
        decoder.viewport(4, Viewport(width=48, height=48))
    assert sorted(read) == [0, 1, 3]


def test_frames_outside_the_video(encoded: Path) -> None:
    with nerv360.open(encoded) as decoder:
        for index in (-1, 6, 10**12):
            with pytest.raises(ArgumentError, match=r"0\.\.5"):
                decoder.viewport(index, Viewport())


def test_other_focal_lengths_show_the_same_scene(encoded: Path) -> None:
    with nerv360.open(encoded) as decoder:
        native = replace(decoder.native_view(), width=96, height=72)
        fine = decoder.viewport(0, replace(native, width=192, height=144))
        coarse = decoder.viewport(0, native)
    assert psnr(fine.reshape(72, 2, 96, 2, 3).mean(axis=(1, 3)), coarse) > 35


def test_a_draft_is_drawn_on_the_pixels_asked_for(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with nerv360.open(encoded) as decoder:
        native = decoder.native_view()
        half = native.resized(native.width // 2, native.height // 2)
        draft = decoder.viewport(0, half, draft=True)
        assert np.array_equal(decoder.viewport(0, native, draft=True), decoder.viewport(0, native))
        monkeypatch.setattr(resampling, "FOCAL_TOLERANCE", 10.0)
        assert np.array_equal(draft, decoder.viewport(0, half))
        large = native.resized(2 * native.width, 2 * native.height)
        monkeypatch.undo()
        assert np.array_equal(
            decoder.viewport(0, large, draft=True), decoder.viewport(0, large)
        )  # not more than native


@pytest.mark.parametrize("trained", [(16384, 16384, 1.0), (16384, 1, 1.0), (1, 16384, 170.0), (64, 36, 170.0)])
def test_no_training_view_makes_a_small_view_huge(encoded: Path, trained: tuple[int, int, float]) -> None:
    """A file may claim any; the picture asked for is 640x360."""
    width, height, hfov = trained
    with nerv360.open(encoded) as decoder:
        claimed = msgspec.structs.replace(
            decoder.container.segments[0].header, view_width=width, view_height=height, hfov_deg=(hfov, hfov)
        )
    native = resampling.native_view(Viewport(width=640, height=360), claimed)
    assert native.width * native.height <= 1.01 * 2**23


def test_stitching_a_known_panorama() -> None:
    y, x = np.mgrid[0:96, 0:192] / 96 * math.pi
    waves = np.stack((np.sin(3 * x), np.cos(2 * y) * np.sin(y), np.sin(x + 1) * np.sin(y)), axis=-1)
    panorama = np.rint(127.5 + 100 * waves * np.sin(y)[..., None]).astype(np.uint8)
    views = [
        Viewport(yaw, pitch, 0, 60, None, 64, 64)
        for pitch, yaw in [
            (p, 360 * k / n) for p, n in ((-90, 1), (-45, 6), (0, 8), (45, 6), (90, 1)) for k in range(n)
        ]
    ]
    patches = [(v, extract_viewport(panorama, v)) for v in views]
    stitched = stitching.stitch(patches, 192, 96)[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    assert ws_psnr(stitched, panorama) > 40  # 46 dB: twice interpolated


@pytest.mark.parametrize(("width", "height", "frames"), [(161, 81, 1), (130, 65, 3), (64, 32, 2)])
def test_any_clip_size(
    make_video: Callable[..., Path], quick: EncodingConfig, tmp_path: Path, width: int, height: int, frames: int
) -> None:
    video = make_video(width=width, height=height, frames=frames)
    result = nerv360.encode(video, tmp_path / "a.nerv360", quick.replace(epochs=1))
    assert result.size == (tmp_path / "a.nerv360").stat().st_size
    with nerv360.open(tmp_path / "a.nerv360") as decoder:
        assert decoder.panorama(frames - 1).shape == (height, width, 3)


def test_evaluation_of_a_file(video: Path, encoded: Path, tmp_path: Path) -> None:
    result = nerv360.eval_file(encoded, video, picture=tmp_path / "a.png")
    assert result.size == encoded.stat().st_size
    assert result.bits_per_pixel == pytest.approx(8 * result.size / (6 * 160 * 80))
    with nerv360.open(encoded) as decoder:
        view = nerv360.geometry.viewport.dynamic_viewports(decoder.native_view(), 6)["VP1"]
        frames = list(Clip.open(video))
        each = [psnr(decoder.viewport(i, v), extract_viewport(frames[i], v)) for i, v in enumerate(view)]
    assert result.trajectories["VP1"].psnr_db == pytest.approx(np.mean(each))
    assert (tmp_path / "a.png").stat().st_size > 1000
