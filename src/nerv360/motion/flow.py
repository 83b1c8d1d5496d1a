"""Optical flow between the frames of a group, as vectors that an encoder tries first."""

from collections.abc import Callable
from functools import lru_cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from nerv360.motion.core import NODE, Vectors, node_grid

__all__ = ["Field", "Flow"]

WIDEST = 1024  # of the pictures that are compared
SEAM = 64  # columns that are repeated on both sides
LEAST_ROWS = 32  # of pictures that OpenCV compares; it crashes on smaller ones
STEPS_KEPT = 48  # flows from frame to frame

Field = NDArray[np.float32]  # [H, W, 2] pixels right and down
Grey = NDArray[np.uint8]


class Flow:
    """Between pictures [n, H, W, 3] of one eye, or of two in turn, compared at no more than 1024 columns."""

    def __init__(self, pictures: NDArray[np.uint8], eyes: int = 1) -> None:
        height, width = pictures.shape[1:3]
        self._nodes = node_grid(width, height)
        self._scale = max(1.0, width / WIDEST)
        self._size = (round(width / self._scale), max(1, round(height / self._scale)))
        self._pictures, self._eyes = pictures, eyes
        grey = lru_cache(STEPS_KEPT)(partial(_small_grey, pictures, self._size))  # no cycle: all goes with the last use
        self._between = partial(
            _flow_between, cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST), grey, self._size
        )
        self._step = lru_cache(STEPS_KEPT)(self._between)

    def candidates(self, frame: int, reference: int) -> Vectors:
        """Vectors [4, rows, columns, 2] of nodes: of flow composed from frame to frame, and of flow between the two;
        means of nodes, and their middles. From eye to eye, all are of flow between the two.
        """
        if (frame - reference) % self._eyes:
            flows = [self._between(frame, reference)] * 2
        else:
            flows = [self._composed(frame, reference)]
            flows.append(flows[0] if abs(frame - reference) == self._eyes else self._between(frame, reference))
        found = [summary for flow in flows for summary in self._at_nodes(flow)]
        return np.rint(4 * self._scale * np.stack(found)).clip(-32000, 32000).astype(np.int16)

    def dense(self, frame: int, reference: int) -> Field:
        """Flow of every pixel [H, W, 2], composed from frame to frame."""
        flow, (height, width) = self._composed(frame, reference), self._pictures.shape[1:3]
        if flow.shape[:2] != (height, width):
            flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(self._scale)
        return flow

    def _at_nodes(self, flow: Field) -> list[Field]:
        """Means over a node's pixels, and over its middle."""
        row, column = (
            ((np.arange(nodes) + 0.5) * NODE / self._scale).astype(int).clip(0, size - 1)
            for nodes, size in zip(self._nodes, self._size[::-1], strict=True)
        )
        sides = [max(1, round(side / self._scale)) for side in (NODE, NODE // 4)]
        return [cv2.blur(flow, (side, side))[row[:, None], column] for side in sides]

    def _composed(self, frame: int, reference: int) -> Field:
        """Flow from frame to frame, each followed where the one before led."""
        width, height = self._size
        row, column = np.indices((height, width), dtype=np.float32)
        step = self._eyes if reference > frame else -self._eyes
        flow = self._step(frame, frame + step)
        for at in range(frame + step, reference, step):
            wrapped = np.pad(self._step(at, at + step), ((0, 0), (1, 1), (0, 0)), mode="wrap")
            x, y = (column + flow[..., 0]) % width + 1, row + flow[..., 1]
            flow = flow + cv2.remap(wrapped, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return flow


def _small_grey(pictures: NDArray[np.uint8], size: tuple[int, int], number: int) -> Grey:
    grey = cv2.cvtColor(pictures[number], cv2.COLOR_RGB2GRAY)
    if grey.shape != size[::-1]:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.pad(grey, ((0, max(0, LEAST_ROWS - len(grey))), (SEAM, SEAM)), mode="wrap")


def _flow_between(
    dis: cv2.DISOpticalFlow, grey: Callable[[int], Grey], size: tuple[int, int], frame: int, reference: int
) -> Field:
    flow = dis.calc(grey(frame), grey(reference), np.zeros(0, np.float32))
    return np.asarray(flow[: size[1], SEAM:-SEAM], np.float32)
