"""Both eyes of a stereo video in one file: read, encoded, decoded and measured, or refused in a plain line."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.commands import Commands
from helpers.films import other_eye, packets_of, panoramas, stereo_box, write_film

import nerv360
from nerv360.api import encode, eval_file
from nerv360.bitstream.container import STEREO_VERSION, Container
from nerv360.codec.decoder import Decoder
from nerv360.codec.encoder import checkpoint_path
from nerv360.codec.mux import mux
from nerv360.codec.target_search import Outcome
from nerv360.codec.tuning import tune
from nerv360.config import preset_for
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.geometry.viewport import Viewport
from nerv360.motion.encoder import Tuning
from nerv360.progress import Update
from nerv360.quality import psnr
from nerv360.types import EYES, Picture
from nerv360.video.clip import Clip
from nerv360.video.reading import BOTH, Layout

FRAMES = 7
LEFT = panoramas(FRAMES)
RIGHT = other_eye(LEFT)
STACKED = [np.concatenate(pair) for pair in zip(LEFT, RIGHT, strict=True)]
TICKS = (0, 1, 3, 4, 20, 30, 31)
INSTANT = preset_for("nerv360-motion", "instant")
OF_BOTH = Layout(default_eye=BOTH)
VIEW = Viewport(yaw_deg=20, width=64, height=48)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both eyes, one above the other, with sound, and frames that last unevenly."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_film(path, STACKED, sample_entry=stereo_box(1), sound=("aac", "mono"), ticks=TICKS)


@pytest.fixture(scope="module")
def clip(film: Path) -> Clip:
    return Clip.open(film, layout=OF_BOTH, sound=True)


@pytest.fixture(scope="module")
def encoded(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoded") / "film.nerv360"
    encode(clip, path, INSTANT)
    return path


@pytest.fixture(scope="module")
def of_one_eye(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("one") / "one.nerv360"
    encode(Clip.open(film, layout=Layout(eye="right"), sound=True), path, INSTANT)
    return path


def all_pictures(decoder: Decoder) -> list[Picture]:
    return [decoder.panorama(frame, eye=eye) for frame in range(decoder.frames) for eye in decoder.eyes]


STORED = {  # boxes, --stereo, the pictures
    "top-bottom": (stereo_box(1), None, STACKED[:1]),
    "left-right": (stereo_box(2), None, [np.concatenate((LEFT[0], RIGHT[0]), axis=1)]),
    "right-left": (stereo_box(4), None, [np.concatenate((RIGHT[0], LEFT[0]), axis=1)]),
    "half as high": (stereo_box(1), None, [STACKED[0][::2]]),
    "half as wide": (stereo_box(2), None, [np.concatenate((LEFT[0], RIGHT[0]), axis=1)[:, ::2]]),
    "told": (b"", "top-bottom", STACKED[:1]),
    "of that shape": (b"", None, STACKED[:1]),
}


@pytest.mark.parametrize("name", STORED)
def test_both_eyes_are_read(tmp_path: Path, name: str) -> None:
    boxes, stereo, pictures = STORED[name]
    path = write_film(tmp_path / "film.mp4", pictures, sample_entry=boxes)
    asked = BOTH if name == "of that shape" else None
    clip = Clip.open(path, layout=Layout(stereo=stereo, eye=asked, default_eye=BOTH))
    (frame,) = clip
    assert (clip.width, clip.height, clip.eyes, frame.shape) == (160, 80, EYES, (160, 160, 3))
    assert clip.frame_bytes == frame.nbytes
    least = 25 if name.startswith("half") else 40
    assert psnr(frame[:80], LEFT[0]) > least
    assert psnr(frame[80:], RIGHT[0]) > least
    assert re.fullmatch(r"stereo \(.*\): both eyes are encoded", clip.remarks[0])


def test_one_panorama_is_one_eye(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", LEFT[:1])
    assert Clip.open(path, layout=OF_BOTH).eyes == EYES[:1]
    with pytest.raises(ArgumentError, match=r"--eye both: .* is not tagged as stereo"):
        Clip.open(path, layout=Layout(eye=BOTH))


def test_a_file_has_both_eyes_of_every_frame(encoded: Path, clip: Clip) -> None:
    """With the times and the sound of frames, of which pictures are twice as many."""
    with nerv360.open(encoded) as decoder:
        container = decoder.container
        assert container.version == STEREO_VERSION
        assert (decoder.frames, decoder.eyes, len(container.segments[0].chunks)) == (FRAMES, EYES, 2 * FRAMES + 2)
        assert container.timeline.durations(range(FRAMES)) == clip.durations
        for frame in (3, 0, 6):
            for eye, picture in zip(EYES, (LEFT[frame], RIGHT[frame]), strict=True):
                other = RIGHT[frame] if eye == "left" else LEFT[frame]
                assert psnr(decoder.panorama(frame, eye=eye), picture) > 28
                assert psnr(decoder.panorama(frame, eye=eye), picture) > psnr(other, picture) + 3
        view = decoder.viewport(4, VIEW, eye="right")
        assert np.array_equal(view, next(decoder.play([(4, VIEW)], eye="right")))
        assert not np.array_equal(view, decoder.viewport(4, VIEW))


def test_quality_is_what_the_encoder_measured(tmp_path: Path, clip: Clip) -> None:
    result = encode(clip, tmp_path / "a.nerv360", INSTANT)
    told = re.search(r"views of ([\d.]+) dB", result.summary)
    assert told
    measured = {eye: eval_file(tmp_path / "a.nerv360", replace_eye(clip, eye)).mean.psnr_db for eye in EYES}
    both = eval_file(tmp_path / "a.nerv360", clip)
    assert both.mean.psnr_db == pytest.approx(float(told[1]), abs=0.01)
    assert both.mean.psnr_db == pytest.approx(np.mean(list(measured.values())), abs=1e-9)
    assert eval_file(tmp_path / "a.nerv360", clip.path).mean == both.mean  # by default
    assert both.bits_per_pixel == pytest.approx(8 * both.size / (FRAMES * 2 * 160 * 80))


def replace_eye(clip: Clip, eye: str) -> Clip:
    return Clip.open(clip.path, layout=Layout(eye=eye))


@pytest.mark.parametrize("levels", [1, 2, 16])
def test_any_levels_may_be_predicted_from_the_left_eye(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch, levels: int
) -> None:
    """In any order of pictures; the left eye's are those of a file of it alone."""
    monkeypatch.setattr("nerv360.codec.motion_encoder.tune", lambda *_: (Tuning(inter_view_levels=levels), 1.0))
    encode(clip, tmp_path / "a.nerv360", INSTANT)
    encode(replace_eye(clip, "left"), tmp_path / "left.nerv360", INSTANT)
    with nerv360.open(tmp_path / "a.nerv360") as decoder, nerv360.open(tmp_path / "left.nerv360") as alone:
        assert decoder.container.segments[0].header.inter_view_levels == levels  # type: ignore[union-attr]
        pictures = all_pictures(decoder)
        for number in (13, 0, 7, 4, 9, 1):
            eye = EYES[number % 2]
            assert np.array_equal(decoder.panorama(number // 2, eye=eye), pictures[number])
        assert all(np.array_equal(*pair) for pair in zip(pictures[::2], all_pictures(alone), strict=True))


def test_the_left_eye_is_decoded_without_the_right_ones_keys(encoded: Path) -> None:
    with nerv360.open(encoded) as decoder:
        read: list[int] = []
        chunk = decoder.container.chunk
        decoder.container.chunk = lambda segment, index: read.append(index) or chunk(segment, index)  # type: ignore
        for frame in range(FRAMES):
            decoder.panorama(frame)
        assert sorted(read) == list(range(FRAMES))
        decoder.panorama(0, eye="right")
        assert min(read[FRAMES:]) >= FRAMES


def test_one_eye_is_called_left(of_one_eye: Path, film: Path) -> None:
    with nerv360.open(of_one_eye) as decoder:
        assert decoder.container.header.eyes is None
        assert decoder.eyes == ("left",)
        assert psnr(decoder.panorama(0), RIGHT[0]) > 28
        for get in (decoder.panorama, lambda frame, eye: decoder.viewport(frame, VIEW, eye=eye)):
            with pytest.raises(ArgumentError, match=r"eye right: .*one\.nerv360 holds one eye, which is called left"):
                get(0, eye="right")
    with pytest.raises(ArgumentError, match="eye both: is for panoramas of a file that holds both"):
        nerv360.decode(of_one_eye, of_one_eye.parent / "both.mp4", None, eye=BOTH)
    with pytest.raises(ArgumentError, match="the source is read for both eyes, the file holds one"):
        eval_file(of_one_eye, Clip.open(film, layout=OF_BOTH))


def test_a_network_holds_the_left_eye(tmp_path: Path, clip: Clip) -> None:
    config = preset_for("nerv360-grid", "fast").replace(epochs=1)
    encode(clip.path, tmp_path / "a.nerv360", config)
    with nerv360.open(tmp_path / "a.nerv360") as decoder:
        assert decoder.eyes == ("left",)
        assert psnr(decoder.panorama(0), LEFT[0]) > psnr(decoder.panorama(0), RIGHT[0])
    with pytest.raises(ArgumentError, match="both eyes: nerv360-grid holds one; take the left, or the right"):
        encode(clip, tmp_path / "b.nerv360", config)


def test_an_interrupted_encoding_goes_on_where_it_was(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerv360.codec.motion_journal.SECONDS", 0.0)
    config = nerv360.preset("fast")
    whole: list[Update] = []
    encode(clip, tmp_path / "whole.nerv360", config, on_progress=whole.append)
    assert {(update.stage, update.total) for update in whole if update.stage != "trying"} == {
        (stage, FRAMES) for stage in ("analysing", "encoding", "checking")
    }

    def stopping(update: Update) -> None:
        if (update.stage, update.done) == ("encoding", 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(clip, tmp_path / "parts.nerv360", config, on_progress=stopping)
    assert checkpoint_path(tmp_path / "parts.nerv360").exists()
    encode(clip, tmp_path / "parts.nerv360", config)
    assert (tmp_path / "parts.nerv360").read_bytes() == (tmp_path / "whole.nerv360").read_bytes()
    encode(replace_eye(clip, "left"), tmp_path / "left.nerv360", config)  # an eye of it is another encoding


def test_groups_begin_at_cuts_of_both_eyes(tmp_path: Path) -> None:
    frames = [*STACKED[:3], *(255 - frame for frame in STACKED[3:])]
    path = write_film(tmp_path / "film.mp4", frames, sample_entry=stereo_box(1))
    encode(path, tmp_path / "a.nerv360", INSTANT)
    with nerv360.open(tmp_path / "a.nerv360") as decoder:
        header = decoder.container.segments[0].header
        assert header.groups == (3, FRAMES - 3)  # type: ignore[union-attr]
        right = decoder.panorama(5, eye="right")
        assert psnr(right, frames[5][80:]) > 28
        assert np.array_equal(right, all_pictures(decoder)[11])


def test_segments_are_joined(tmp_path: Path, clip: Clip, of_one_eye: Path) -> None:
    """Their chunks of sound lie behind the keys of both eyes."""
    parts = [tmp_path / "a.nerv360", tmp_path / "b.nerv360"]
    for part, (first, frames) in zip(parts, ((0, 3), (3, 4)), strict=True):
        encode(clip.cut(first, frames), part, INSTANT)
    mux(parts, tmp_path / "film.nerv360")
    with nerv360.open(tmp_path / "film.nerv360") as decoder:
        joined = all_pictures(decoder)
        assert len(decoder.container.segments) == 2
        assert decoder.container.timeline.durations(range(FRAMES)) == clip.durations
    separate = []
    for part in parts:
        with nerv360.open(part) as decoder:
            separate += all_pictures(decoder)
    assert all(np.array_equal(*pair) for pair in zip(joined, separate, strict=True))
    with pytest.raises(BitstreamError, match=r"of another video than .*: size, frame rate, colours, eyes or sound"):
        mux([parts[0], of_one_eye], tmp_path / "mixed.nerv360")


def test_more_than_the_core_can_hold_is_refused(tmp_path: Path, clip: Clip) -> None:
    refused = r"16384x8192 of each eye takes more than 4 GiB to encode; .*6144x3072, or encode one eye"
    with pytest.raises(ArgumentError, match=refused):
        encode(replace(clip, width=16384, height=8192), tmp_path / "a.nerv360", nerv360.preset("medium"))


def test_levels_are_tried_as_far_as_they_gain() -> None:
    def attempt(gains: Sequence[float], tried: list[Tuning]) -> tuple[Tuning, float]:
        def outcome(tuning: Tuning, factor: float) -> Outcome:
            tried.append(tuning)
            size = 10000 / factor * dict(zip((1, 2, 16), gains, strict=True))[tuning.inter_view_levels]
            return Outcome(round(size), 31 - 5 * float(np.log2(factor)), 30 - 5 * float(np.log2(factor)))

        return tune(1, outcome, eyes=2)

    stands: list[Tuning] = []
    assert attempt((1.0, 1.2, 0.8), stands)[0] == Tuning()
    assert 16 not in {tuning.inter_view_levels for tuning in stands}
    assert attempt((1.0, 0.9, 0.8), [])[0] == Tuning(inter_view_levels=16)


def test_commands(commands_with_torch: Commands, film: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        result = commands_with_torch(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "both eyes are encoded" in run("encode", film, "-o", "a.nerv360", "--preset", "instant")
    for name, more in (("left", ()), ("l", ("--eye", "left")), ("r", ("--eye", "right"))):
        run("decode", "a.nerv360", "-o", f"{name}.png", "--frames", "2:3", "--size", "96x64", *more)
    assert (tmp_path / "left.png").read_bytes() == (tmp_path / "l.png").read_bytes()
    assert (tmp_path / "left.png").read_bytes() != (tmp_path / "r.png").read_bytes()
    run("decode", "a.nerv360", "-o", "both.mp4", "--panorama")
    again = Clip.open(tmp_path / "both.mp4", layout=OF_BOTH)
    assert again.eyes == EYES
    assert psnr(next(iter(again)), STACKED[0]) > 26
    assert packets_of(tmp_path / "both.mp4")
    run("decode", "a.nerv360", "-o", "one.mp4", "--panorama", "--eye", "right")
    (one, *_) = Clip.open(tmp_path / "one.mp4")
    assert psnr(one, RIGHT[0]) > psnr(one, LEFT[0]) + 3
    facts = json.loads(run("info", "a.nerv360", "--json"))
    assert facts["eyes"] == 2
    assert sum(facts["budget"].values()) == facts["size"]
    assert facts["budget"]["P keys, right eye"] > 0
    assert "left and right; right keys below level 1" in run("info", "a.nerv360")
    mean, right = (
        json.loads(run("eval", "a.nerv360", "--source", film, "--json", "--size", "96x96", *more))
        for more in (("--picture", "e.png"), ("--eye", "right"))
    )
    assert mean["ws_psnr_db"] == pytest.approx(right["ws_psnr_db"], abs=1)
    assert mean["ws_psnr_db"] != right["ws_psnr_db"]


def test_what_commands_refuse(commands_with_torch: Commands, encoded: Path, of_one_eye: Path, film: Path) -> None:
    refused = {
        ("encode", film, "-o", "x.nerv360", "--eye", BOTH, "--model", "nerv360-grid"): "nerv360-grid holds one eye",
        ("encode", film, "-o", "x.nerv360", "--eye", "third"): "--eye third: must be left, right, both",
        ("decode", encoded, "-o", "x.mp4", "--eye", BOTH): "--eye both: is for --panorama",
        ("decode", encoded, "-o", "x.mp4", "--eye", "third"): "--eye third: must be left, right, both",
        ("decode", of_one_eye, "-o", "x.mp4", "--eye", "right"): "--eye right: the file holds one eye, which is called",
        ("decode", of_one_eye, "-o", "x.mp4", "--panorama", "--eye", BOTH): "--eye both: the file holds one eye",
        ("eval", of_one_eye, "--source", film, "--eye", BOTH): "read for both eyes, the file holds one",
        ("compare", film, "--eye", BOTH): "--eye both: one eye is taken here",
        ("compare", film): "holds two eyes (top-bottom); one of them is taken: --eye left",
        ("compare", film, "--eye", "left", "--file", encoded): "holds both eyes, and one is compared",
    }
    for command, why in refused.items():
        result = commands_with_torch(*command, cwd=film.parent)
        assert result.returncode == 2, command
        assert why in result.stderr, command
        assert result.stderr.count("\n") == 1, result.stderr
    assert [path.name for path in film.parent.iterdir()] == ["film.mp4"]


def test_decoded_panoramas_are_tagged_as_stereo(encoded: Path, tmp_path: Path) -> None:
    nerv360.decode(encoded, tmp_path / "both.mp4", None)
    with av.open(str(tmp_path / "both.mp4")) as container:
        first = next(container.decode(video=0))
        assert (first.width, first.height) == (160, 160)
    assert b"<GSpherical:StereoMode>top-bottom" in (tmp_path / "both.mp4").read_bytes()
    assert Clip.open(tmp_path / "both.mp4", layout=OF_BOTH).tags.stereo == "top-bottom"


def test_a_file_of_one_eye_has_its_version(of_one_eye: Path, encoded: Path) -> None:
    with Container(of_one_eye) as container:
        assert container.version < STEREO_VERSION
    data = bytearray(encoded.read_bytes())
    data[8] = STEREO_VERSION - 1
    (encoded.parent / "older.nerv360").write_bytes(data)
    with pytest.raises(BitstreamError, match="both eyes in a file of version 11"):
        Container(encoded.parent / "older.nerv360")
