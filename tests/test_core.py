"""The core: what is written is what is read, whatever is asked for in whatever order."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nerv360.errors import BitstreamError
from nerv360.evaluation.metrics import luma
from nerv360.motion.core import Core
from nerv360.motion.encoder import CodedKey, GroupEncoder, Tuning, steps_of
from nerv360.motion.keys import Key, assign_slots, key_order
from nerv360.quality import psnr
from nerv360.types import Picture
from nerv360.video.synthetic import render_frame

WIDTH, HEIGHT, FRAMES = 176, 88, 11  # no multiples of a node, or of a tile
TUNING = Tuning(interval=4)


@pytest.fixture(scope="module")
def clip() -> NDArray[np.uint8]:
    return np.stack([render_frame(index, width=WIDTH, height=HEIGHT, frames=128) for index in range(FRAMES)])


@pytest.fixture(scope="module")
def coded(clip: NDArray[np.uint8]) -> list[tuple[Key, CodedKey, Picture]]:
    return list(GroupEncoder(clip, {}).encode(TUNING, steps_of(12.0, TUNING, FRAMES)))


def reader(coded: list[tuple[Key, CodedKey, Picture]]) -> Core:
    core, steps = Core(WIDTH, HEIGHT), steps_of(12.0, TUNING, FRAMES)
    for key, each, _ in coded:
        core.decode(key.frame, key, steps[key.level], each.data)
    return core


def test_what_is_read_is_what_was_written(coded: list[tuple[Key, CodedKey, Picture]]) -> None:
    core = reader(coded)
    for key, _, picture in coded:
        assert np.array_equal(core.pixels(key.frame, 0, 0, HEIGHT, WIDTH), picture)


def test_quality_follows_the_step(clip: NDArray[np.uint8]) -> None:
    def outcome(step: float) -> tuple[int, float]:
        coded = list(GroupEncoder(clip, {}).encode(TUNING, steps_of(step, TUNING, FRAMES)))
        quality = [psnr(luma(picture), luma(clip[key.frame])) for key, _, picture in coded]
        return sum(len(key.data) for _, key, _ in coded), float(np.mean(quality))

    sizes, qualities = zip(*map(outcome, (2.0, 12.0, 72.0)), strict=True)
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]
    assert qualities[0] > 41 > qualities[1] > qualities[2]


def test_windows_are_parts_of_the_panorama(coded: list[tuple[Key, CodedKey, Picture]]) -> None:
    """Painted for themselves, in any order, round the seam, of frames whose references were not painted."""
    core, chosen = reader(coded), random.Random(0)
    for _ in range(40):
        key, _, picture = chosen.choice(coded)
        top, left = chosen.randrange(HEIGHT), chosen.randrange(-WIDTH, WIDTH)
        height, width = chosen.randrange(1, HEIGHT - top + 1), chosen.randrange(1, WIDTH)
        window = np.take(picture[top : top + height], np.arange(left, left + width), axis=1, mode="wrap")
        assert np.array_equal(core.pixels(key.frame, top, left, height, width), window)


def test_growing_windows_take_little_memory(coded: list[tuple[Key, CodedKey, Picture]]) -> None:
    """A buffer that is outgrown is not given back."""
    core = reader(coded)
    core.pixels(5, 0, 0, 1, WIDTH)
    before = core._call("reserve", 0)
    for height in range(2, HEIGHT + 1):
        core.pixels(5, 0, 0, height, WIDTH)
    assert core._call("reserve", 0) - before < 4 * 3 * HEIGHT * WIDTH  # painted before, and at most doubled


def test_memory_beyond_2_gib(coded: list[tuple[Key, CodedKey, Picture]]) -> None:
    """Addresses are unsigned. What is reserved here, nobody touches."""
    core = Core(WIDTH, HEIGHT)
    core._call("reserve", 1 << 31)
    (root, each, picture), *_ = coded
    core.decode(0, root, steps_of(12.0, TUNING, FRAMES)[0], each.data)
    assert np.array_equal(core.pixels(0, 0, 0, HEIGHT, WIDTH), picture)


def test_many_steps() -> None:
    """Keys that are painted late, after more steps than are held have come."""
    size, data = (32, 16), np.random.default_rng(0).bytes(2000)
    core = Core(*size)
    for slot in range(100):
        core.decode(slot, Key(slot, (), 0), 16 + slot, data)
    for slot in (0, 50, 99, 0):
        alone = Core(*size)
        alone.decode(0, Key(slot, (), 0), 16 + slot, data)
        assert np.array_equal(core.pixels(slot, 0, 0, 16, 32), alone.pixels(0, 0, 0, 16, 32))


def test_known_keys_are_gone_on_from(clip: NDArray[np.uint8], coded: list[tuple[Key, CodedKey, Picture]]) -> None:
    known = [each for _, each, _ in coded[:5]]
    again = list(GroupEncoder(clip, {}).encode(TUNING, steps_of(12.0, TUNING, FRAMES), known))
    assert [each.data for _, each, _ in again] == [each.data for _, each, _ in coded]


def test_slots_are_taken_again_only_when_nothing_refers_to_them() -> None:
    for frames, interval in ((1, 8), (2, 8), (33, 8), (96, 16), (50, 1)):
        keys = key_order(frames, interval)
        slots, held = assign_slots(keys), {}
        for key, slot in zip(keys, slots, strict=True):
            assert all(reference in held.values() for reference in key.references)
            held[slot] = key.frame
        assert max(slots) < 12


@pytest.mark.parametrize("seed", range(6))
def test_any_bytes_are_a_picture_or_an_error(coded: list[tuple[Key, CodedKey, Picture]], seed: int) -> None:
    """Checksums keep such bytes away; should they come, nothing hangs, and nothing outside the core is touched."""
    random_bytes, core = np.random.default_rng(seed), Core(WIDTH, HEIGHT)
    steps = steps_of(12.0, TUNING, FRAMES)
    try:
        for key, each, _ in coded:
            damaged = random_bytes.integers(0, 256, len(each.data), np.uint8).tobytes()
            core.decode(key.frame, key, steps[key.level] if seed % 2 else 65535, damaged)
        assert core.pixels(5, 0, 0, HEIGHT, WIDTH).shape == (HEIGHT, WIDTH, 3)
    except BitstreamError as error:
        assert "key" in str(error)


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="the compiler is not installed")
def test_the_core_is_what_its_source_makes(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, root / "core" / "build.py", tmp_path / "core.wasm"], check=True)
    assert (tmp_path / "core.wasm").read_bytes() == (root / "src/nerv360/motion/core.wasm").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems handle traps elsewhere")
def test_a_damaged_key_is_borne_where_the_signal_stack_is_gone() -> None:
    """As OpenVINO leaves it behind; in a process of its own, which would die."""
    script = (
        "import ctypes, mmap\n"
        "from nerv360.motion.core import Core, _SignalStack\n"
        "from nerv360.motion.keys import Key\n"
        "from nerv360.errors import BitstreamError\n"
        "core, found = Core(64, 32), _SignalStack()\n"
        "for turn in range(2):\n"
        "    memory = mmap.mmap(-1, 1 << 14)\n"
        "    gone = _SignalStack(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 0, 11568)\n"
        "    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(gone), None) == 0\n"
        "    memory.close()\n"
        "    try:\n"
        "        core.decode(0, Key(0, (), 0), 16, b'')\n"
        "    except BitstreamError:\n"
        "        print('refused')\n"
        "    before = found.address\n"
        "    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))\n"
        "assert found.address == before\n"  # which others may put back
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\nrefused\n"), done
