"""Frames in a random order that can be taken up anywhere, in bounded memory, made ready ahead of who takes them."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nerv360.video.clip import Clip, Parts

__all__ = ["in_blocks", "shuffled"]

AHEAD = 4  # frames that are made RGB before they are asked for
CONVERTERS = max(1, min(4, (os.cpu_count() or 1) - 1))  # threads

Frame = NDArray[np.uint8]
Item = TypeVar("Item")


def shuffled(
    clip: Clip, seed: int, first_step: int, memory: int, seen: Callable[[int, int], Parts] = lambda step, frame: None
) -> Generator[tuple[int, Frame]]:
    """(frame index, frame) without end, from `first_step` on; each epoch visits every frame once.

    `seen` tells which parts of the frame a step looks at: others may be anything.

    A clip that fits `memory` bytes is held whole and shuffled whole, in RGB; a longer one as the file has it, where
    that is smaller (4:2:0: half), to be made RGB a few frames ahead, on threads. One that does not fit so either goes
    by in blocks of half the memory, each shuffled, the next one decoded meanwhile. The order depends on the arguments
    alone.
    """
    in_rgb = clip.frames * clip.frame_bytes <= memory or clip.decoded_frame_bytes >= clip.frame_bytes
    bytes_each = clip.frame_bytes if in_rgb else clip.decoded_frame_bytes
    size = clip.frames if clip.frames * bytes_each <= memory else max(1, memory // (2 * bytes_each))
    with ThreadPoolExecutor(max_workers=1) as reader, ThreadPoolExecutor(max_workers=CONVERTERS) as converters:
        if in_rgb:
            yield from in_blocks(clip.read, clip.frames, size, seed, first_step, reader)
            return
        kept = in_blocks(clip.pictures, clip.frames, size, seed, first_step, reader)
        converted: deque[tuple[int, Future[Frame]]] = deque()
        steps = enumerate(kept, start=first_step)
        while True:
            for step, (index, picture) in itertools.islice(steps, AHEAD - len(converted)):
                converted.append((index, converters.submit(clip.panorama, picture, seen(step, index))))
            index, frame = converted.popleft()
            yield index, frame.result()


def in_blocks(
    read: Callable[[int, int], Iterable[Item]],  # frames [first, end)
    frames: int,
    size: int,
    seed: int,
    first_step: int,
    reader: Executor,
) -> Iterator[tuple[int, Item]]:
    """(frame index, frame) without end, in blocks of `size`, each shuffled, while the reader reads the next one."""
    starts = range(0, frames, size)

    def load(number: int) -> list[Item]:
        first = starts[number % len(starts)]
        return list(read(first, min(first + size, frames)))

    epoch, skip = divmod(first_step, frames)
    number = epoch * len(starts) + skip // size
    skip %= size
    block = load(number)
    while True:
        ahead = reader.submit(load, number + 1) if len(starts) > 1 else None
        order = np.random.default_rng((seed, number)).permutation(len(block))
        for position in order[skip:]:
            yield starts[number % len(starts)] + int(position), block[position]
        number, skip = number + 1, 0
        block = ahead.result() if ahead else block
