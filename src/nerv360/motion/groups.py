"""Frames -> groups of keys that predict one another: none over a cut, none longer than what a viewer waits for."""

from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from nerv360.types import Picture

__all__ = ["LONGEST_GROUP", "split_into_groups"]

LONGEST_GROUP = 64  # frames
SIZE = (64, 32)  # of the pictures that are compared
CUT, TIMES_USUAL = 10.0, 4.0  # mean difference in grey levels that is a cut: at least, and beside the usual one


def split_into_groups(frames: Iterable[Picture]) -> tuple[int, ...]:
    """Frames of each group, of a clip [n] of [H, W, 3]: cut where the picture changes for good, then evenly."""
    small = [cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32).mean(axis=2) for frame in frames]
    changes = [_difference(a, b) for a, b in pairwise(small)]
    usual = float(np.median(changes)) if changes else 0.0
    starts = [0]
    for index, change in enumerate(changes, start=1):
        before, beyond = small[max(0, index - 2)], small[min(index + 1, len(small) - 1)]
        lasting = min(_difference(before, small[index]), _difference(small[index - 1], beyond)) > change / 2
        if lasting and change > max(CUT, TIMES_USUAL * usual):  # a flash goes back to what was
            starts.append(index)
    groups: list[int] = []
    for start, end in pairwise([*starts, len(small)]):
        parts = -(-(end - start) // LONGEST_GROUP)
        bounds = [start + (end - start) * part // parts for part in range(parts + 1)]
        groups += [b - a for a, b in pairwise(bounds)]
    return tuple(groups)


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).mean())
