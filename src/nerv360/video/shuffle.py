"""Frames in a random order that can be taken up anywhere, in bounded memory."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nerv360.video.clip import Clip

__all__ = ["shuffled"]

Block = list[NDArray[np.uint8]]


def shuffled(clip: Clip, seed: int, first_step: int, memory: int) -> Generator[tuple[int, NDArray[np.uint8]]]:
    """(frame index, frame) without end, from `first_step` on; each epoch visits every frame once.

    A clip that fits `memory` bytes is held whole and shuffled whole. A longer one goes by in blocks of half the
    memory, each shuffled, the next one decoded meanwhile. The order depends on the arguments alone.
    """
    size = clip.frames if clip.frames * clip.frame_bytes <= memory else max(1, memory // (2 * clip.frame_bytes))
    starts = range(0, clip.frames, size)

    def load(number: int) -> Block:
        first = starts[number % len(starts)]
        return list(clip.read(first, min(first + size, clip.frames)))

    epoch, skip = divmod(first_step, clip.frames)
    number = epoch * len(starts) + skip // size
    skip %= size
    with ThreadPoolExecutor(max_workers=1) as pool:
        block = load(number)
        while True:
            ahead = pool.submit(load, number + 1) if len(starts) > 1 else None
            order = np.random.default_rng((seed, number)).permutation(len(block))
            for position in order[skip:]:
                yield starts[number % len(starts)] + int(position), block[position]
            number, skip = number + 1, 0
            block = ahead.result() if ahead else block
