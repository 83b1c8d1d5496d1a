"""A group of frames -> the bits of its keys, in one closed loop: what is predicted from is what a decoder has."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerv360.errors import BitstreamError
from nerv360.motion.core import Core, Vectors
from nerv360.motion.flow import Flow
from nerv360.motion.keys import Key, assign_slots, key_order, pair_order
from nerv360.motion.temporal_filter import TemporalFilter
from nerv360.quality import ws_squared_error
from nerv360.types import Picture

__all__ = ["MAX_STEP", "CodedKey", "GroupEncoder", "Tuning", "VectorCache", "encoding_order", "steps_of"]

RATE_WEIGHT = 0.1  # of a bit, in squared steps of the quantiser
MOTION_WEIGHT = 0.15  # of a bit of motion, while vectors are searched for alone
ROOT_FILTERING = 1.5  # beside a P key's, for more frames depend on it
STEP_UNIT, MAX_STEP = 16, 4000.0

VectorCache = dict[tuple[int, int], Vectors]  # by frame and reference


@dataclass(frozen=True)
class Tuning:
    """What may differ from clip to clip."""

    interval: int = 4  # frames between P keys
    growth_p: float = 1.8  # of the quantiser's step, from the root to P keys
    growth_b: float = 1.5  # from each level of B keys to the next
    filtering: float = 1.0  # of roots and P keys in time; 0 is none
    inter_view_levels: int = 1  # of keys whose right picture the left one predicts, where there are two eyes


def steps_of(step: float, tuning: Tuning, frames: int) -> tuple[int, ...]:
    """Quantiser's step of every level in 1/16 of a grey level, where the root's is `step` grey levels."""
    deepest = max(key.level for key in key_order(frames, tuning.interval))
    growth = [1.0, *(tuning.growth_p * tuning.growth_b**level for level in range(deepest))]
    return tuple(max(1, round(STEP_UNIT * min(MAX_STEP, step * each))) for each in growth)


def encoding_order(frames: int, tuning: Tuning, eyes: int = 1) -> list[Key]:
    """Keys of a group in the order in which they are encoded: of two eyes, both pictures of a frame together, for few
    keys to be held at once. Files have all left ones first.
    """
    if eyes == 1:
        return key_order(frames, tuning.interval)
    keys = pair_order(frames, tuning.interval, tuning.inter_view_levels)
    return [key for pair in zip(keys[:frames], keys[frames:], strict=True) for key in pair]


@dataclass(frozen=True)
class CodedKey:
    """A key as it is written, and what came of it."""

    data: bytes
    sectors: list[bytes]  # where the file has such (core/sectors.c)
    squared_error: float  # mean over the panorama's area and colours, in grey levels
    checksum: int  # CRC-32 of its decoded picture


@dataclass
class GroupEncoder:
    """Encodes a group of frames [n, H, W, 3], those of two eyes in turn; `vectors` keeps its optical flow, for another
    time. `sector`: pixels each way of the sectors of keys; 0 for none.
    """

    frames: NDArray[np.uint8]
    vectors: VectorCache
    eyes: int = 1
    sector: int = 0

    def __post_init__(self) -> None:
        self._flow = Flow(self.frames, self.eyes)
        self._filter = TemporalFilter(self.frames, self._flow, self.eyes)

    def encode(
        self, tuning: Tuning, steps: Sequence[int], known: Sequence[CodedKey] = ()
    ) -> Iterator[tuple[Key, CodedKey, Picture]]:
        """All keys in `encoding_order`, with their decoded pictures; the first ones are `known`, and only read.

        Raises BitstreamError where what is known is not what it was.
        """
        count, height, width = self.frames.shape[:3]
        core = Core(width, height, self.sector)
        keys = encoding_order(count // self.eyes, tuning, self.eyes)
        for index, (key, slot) in enumerate(zip(keys, assign_slots(keys), strict=True)):
            picture, step = self.frames[key.frame], steps[key.level]
            if index < len(known):
                core.decode(slot, key, step, known[index].data)
                for sector, data in enumerate(known[index].sectors):
                    core.decode_sector(slot, sector, data)
                decoded = core.pixels(slot, 0, 0, height, width)
                if zlib.crc32(decoded.data) != known[index].checksum:
                    raise BitstreamError(f"key {index} decodes to another picture")
                yield key, known[index], decoded
                continue
            candidates = [self._vectors(key.frame, reference) for reference in key.references]
            source = picture
            if key.level < 2 and tuning.filtering:
                strength = tuning.filtering * (1.0 if key.level else ROOT_FILTERING)
                source = self._filter.filtered(key.frame, step / STEP_UNIT, strength)
            data, sectors = core.encode(slot, key, step, source, candidates, RATE_WEIGHT, MOTION_WEIGHT)
            decoded = core.pixels(slot, 0, 0, height, width)
            yield key, CodedKey(data, sectors, ws_squared_error(decoded, picture), zlib.crc32(decoded.data)), decoded

    def _vectors(self, frame: int, reference: int) -> Vectors:
        if (frame, reference) not in self.vectors:
            self.vectors[frame, reference] = self._flow.candidates(frame, reference)
        return self.vectors[frame, reference]
