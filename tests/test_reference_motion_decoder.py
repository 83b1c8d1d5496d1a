"""nerv360-motion as docs/motion-bitstream.md has it, against the core: the same pictures from the same bytes."""

import zlib
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import reference_decoder
import reference_motion_bits
import reference_motion_decoder
import reference_motion_filters
import reference_motion_pictures
from helpers.films import other_eye
from helpers.motion_files import motion_file
from numpy.typing import NDArray
from reference_motion_bits import CONTEXTS, MIXERS

import nerv360
from nerv360.config import preset_for
from nerv360.errors import BitstreamError
from nerv360.motion.core import Core
from nerv360.motion.encoder import Tuning
from nerv360.motion.keys import key_order
from nerv360.types import BT709, Picture
from nerv360.video.clip import Clip
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

MOST_SAMPLES = 1e-3  # that differ, by one level: colours are rounded in single precision. The most was 4e-4


def scene(count: int, width: int, height: int, turn: int = 0) -> list[Picture]:
    """A clip whose camera turns by so many pixels a frame."""
    return [np.roll(render_frame(i, width=width, height=height, frames=64), turn * i, axis=1) for i in range(count)]


def over_the_poles(count: int, width: int, height: int) -> list[Picture]:
    """A picture that moves along meridians, nine pixels a frame."""
    picture = render_frame(0, width=width, height=height, frames=64)
    sphere = np.concatenate((picture, np.roll(picture[::-1], width // 2, axis=1)))
    return [np.roll(sphere, 9 * i, axis=0)[:height] for i in range(count)]


def both(count: int, width: int, height: int) -> list[Picture]:
    """Both eyes of a clip, in turn."""
    left = scene(count, width, height, 2)
    return [picture for pair in zip(left, other_eye(left), strict=True) for picture in pair]


def noise(count: int, width: int, height: int) -> list[Picture]:
    return list(np.random.default_rng(3).integers(0, 256, (count, height, width, 3), np.uint8))


def dots(count: int, width: int, height: int) -> list[Picture]:
    """Grey, and a dot somewhere near the seam in every frame: bands hold little, and that anywhere."""
    frames = np.full((count, height, width, 3), 128, np.uint8)
    for index, frame in enumerate(frames):
        row, column = 8 * index % (height - 4), (width - 24 + 7 * index) % width
        frame[row : row + 4, column : column + 4] = 255
    return list(frames)


CASES: dict[str, Callable[[], bytes]] = {
    "one frame": lambda: motion_file([scene(1, 72, 40)], Tuning(), 30),
    "finest step": lambda: motion_file([scene(3, 48, 24)], Tuning(), 1 / 16),
    "coarsest step": lambda: motion_file([scene(3, 96, 48)], Tuning(), 4000),
    "P keys every 4": lambda: motion_file([scene(9, 72, 40)], Tuning(interval=4), 8),
    "P keys alone": lambda: motion_file([scene(5, 56, 32, 3)], Tuning(interval=1), 4),
    "groups": lambda: motion_file([scene(4, 56, 32), noise(3, 56, 32)], Tuning(interval=2), 30),
    "over the seam": lambda: motion_file([scene(5, 80, 40, 31)], Tuning(interval=2), 8),
    "over the poles": lambda: motion_file([over_the_poles(5, 80, 40)], Tuning(interval=2), 8),
    "odd": lambda: motion_file([scene(4, 67, 35, 5)], Tuning(), 8),
    "one column wide": lambda: motion_file([noise(3, 16, 40)], Tuning(interval=2), 2),
    "little": lambda: motion_file([dots(9, 140, 56)], Tuning(interval=2), 20),
    "sectors": lambda: motion_file([scene(6, 200, 100, 5)], Tuning(interval=2), 8, sector=64),
    "sectors of groups": lambda: motion_file([scene(4, 150, 72), noise(2, 150, 72)], Tuning(), 30, sector=64),
    "sectors with little in them": lambda: motion_file([dots(9, 204, 136)], Tuning(interval=4), 20, sector=64),
    "one sector": lambda: motion_file([scene(3, 72, 40)], Tuning(interval=2), 8, sector=128),
    "sectors of two eyes": lambda: motion_file([scene(6, 150, 72, 3)], Tuning(interval=2), 8, eyes=2, sector=64),
    "flat": lambda: motion_file([scene(3, 40, 6, 7)], Tuning(), 8),
    **{
        f"two eyes, {levels} levels": lambda levels=levels: motion_file(
            [both(7, 72, 40), both(2, 72, 40)], Tuning(interval=2, inter_view_levels=levels), 12, eyes=2
        )
        for levels in (1, 2, 16)
    },
}


@pytest.mark.parametrize("name", CASES)
def test_pictures_are_those_of_the_document(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.nerv360").write_bytes(CASES[name]())
    compare(tmp_path / "a.nerv360")


def test_an_encoded_clip(tmp_path: Path) -> None:
    write_frames(tmp_path / "clip.mp4", iter(scene(5, 96, 48, 2)), Fraction(25), BT709)
    clip = Clip.open(tmp_path / "clip.mp4", force=True)
    nerv360.encode(clip, tmp_path / "a.nerv360", preset_for("nerv360-motion", "instant"))
    compare(tmp_path / "a.nerv360")


def compare(path: Path) -> None:
    pictures = reference_motion_decoder.decode(path.read_bytes())
    with nerv360.open(path) as decoder:
        shown = [decoder.panorama(frame, eye=eye) for frame in range(decoder.frames) for eye in decoder.eyes]
    assert len(pictures) == len(shown)
    for ours, theirs in zip(shown, pictures, strict=True):
        assert_same(ours, theirs)


def assert_same(picture: Picture, expected: NDArray[np.uint8]) -> None:
    errors = np.abs(picture.astype(int) - expected)
    assert errors.max() <= 1
    assert (errors > 0).mean() <= MOST_SAMPLES


@pytest.mark.parametrize(("seed", "least_bytes", "refused"), [(0, 1000, False), (1, 1000, False), (2, 0, True)])
def test_any_bytes_mean_the_same(seed: int, least_bytes: int, refused: bool) -> None:
    """Whatever runs over its bits does so in the same way; a key that ends too early is refused."""
    compare_bytes(seed, (40, 22), least_bytes, refused)


@pytest.mark.parametrize("seed", [11, 14])
def test_any_motion_means_the_same(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Where contexts of motion begin anywhere, vectors are of all kinds, and run over 16 bits."""
    priors = bytearray(zlib.decompress(reference_motion_bits.PRIORS.read_bytes()))
    for part in np.frombuffer(priors, np.int8)[: 3 * (2 * CONTEXTS + 12 * MIXERS)].reshape(3, -1):
        logits = part[29424:33072].reshape(3, 1216)
        logits[:] = np.random.default_rng(seed).integers(-40, 60, logits.shape)
        logits[:, 960:] += 66  # lengths of differences
        part[2 * CONTEXTS :].view(np.int16).reshape(MIXERS, 6)[672:] = 100
    states = reference_motion_bits.unpacked(bytes(priors))
    monkeypatch.setattr(reference_motion_decoder, "priors", lambda: states)
    compare_bytes(seed, (230, 150), 6000, False, bytes(priors))


@pytest.mark.parametrize(("seed", "largest"), [(3, 300), (4, 32768)])
def test_any_filter_means_the_same(monkeypatch: pytest.MonkeyPatch, seed: int, largest: int) -> None:
    """Networks of any weights, whose sums may run over 32 bits."""
    priors = bytearray(zlib.decompress(reference_motion_bits.PRIORS.read_bytes()))
    numbers = np.frombuffer(priors, np.int16)[3 * (CONTEXTS + 6 * MIXERS) :]
    numbers[:] = np.random.default_rng(seed).integers(-largest, largest, len(numbers))
    filters = reference_motion_filters.unpacked(bytes(priors))
    monkeypatch.setattr(reference_motion_decoder, "filters", lambda: filters)
    compare_bytes(seed, (150, 70), 3000, False, bytes(priors))


def compare_bytes(
    seed: int, size: tuple[int, int], least_bytes: int, refused: bool, priors: bytes | None = None
) -> None:
    (width, height), frames, interval = size, 7, 3
    rng = np.random.default_rng(seed)
    steps = rng.choice([1, 16, 480, 65535], 4).tolist()
    chunks = [rng.bytes(int(length)) for length in rng.integers(least_bytes, least_bytes + 9, frames)]
    header = ["nerv360-motion", 1, 1, [78, 78], interval, [frames], steps, []]
    with pytest.raises(reference_decoder.Refusal) if refused else nullcontext():
        planes = reference_motion_decoder.read_segment(width, height, frames, header, chunks)
    core = Core(width, height, priors=priors)
    with pytest.raises(BitstreamError) if refused else nullcontext():
        for key, chunk in zip(key_order(frames, interval), chunks, strict=True):
            core.decode(key.frame, key, steps[key.level], chunk)
    for frame in range(0 if refused else frames):
        expected = reference_motion_pictures.colours(planes[frame], width, height)
        assert_same(core.pixels(frame, 0, 0, height, width), expected)
