"""Temporal filtering of frames that predict others: what does not last, as noise, is not worth its bits there.

A frame becomes a weighted mean of itself and of its neighbours, moved onto it along optical flow, as in the reference
encoder of VVC (JVET-O0549). Only an encoder does this.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from nerv360.motion.flow import Field, Flow
from nerv360.types import Picture

__all__ = ["TemporalFilter"]

WEIGHTS = (0.34, 0.23)  # of neighbours one and two frames away, beside 1 of the frame itself
TOLERANCE = 0.3  # steps of the quantiser: a difference that still looks like noise
WINDOW = 5  # pixels each way, over which differences are taken


class TemporalFilter:
    """Of frames [n, H, W, 3] of one eye, or of two in turn, along their flow."""

    def __init__(self, frames: NDArray[np.uint8], flow: Flow, eyes: int = 1) -> None:
        self._frames, self._flow, self._eyes = frames, flow, eyes
        self._row, self._column = np.indices(frames.shape[1:3], dtype=np.float32)

    def filtered(self, frame: int, step: float, strength: float = 1.0) -> Picture:
        """A frame as it is worth coding with a quantiser's step in grey levels."""
        picture = self._frames[frame]
        total, weights = picture.astype(np.float32), np.ones(picture.shape[:2], np.float32)
        for distance, weight in enumerate(WEIGHTS, start=1):
            for other in (frame - distance * self._eyes, frame + distance * self._eyes):
                if 0 <= other < len(self._frames):
                    moved = self._moved(self._frames[other], self._flow.dense(frame, other))
                    share = _similarity(picture, moved, TOLERANCE * step)
                    share *= strength * weight * float(share.mean())
                    total += cv2.multiply(moved, cv2.merge([share] * 3), dtype=cv2.CV_32F)
                    weights += share
        return np.asarray(cv2.divide(total, cv2.merge([weights] * 3), dtype=cv2.CV_8U), np.uint8)

    def _moved(self, picture: Picture, flow: Field) -> Picture:
        """A picture at the places where flow leads; rows beyond a pole are taken from its edge."""
        x, y = self._column + flow[..., 0], (self._row + flow[..., 1]).clip(0, len(picture) - 1)
        return np.asarray(cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP))


def _similarity(one: Picture, other: Picture, tolerance: float) -> NDArray[np.float32]:
    """From 0 to 1, of every pixel [H, W]: a Gaussian of the difference around it."""
    difference = cv2.absdiff(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), cv2.cvtColor(other, cv2.COLOR_RGB2GRAY))
    squared = cv2.sqrBoxFilter(difference, cv2.CV_32F, (WINDOW, WINDOW))
    return np.asarray(cv2.exp(squared * np.float32(-1 / (2 * tolerance**2))))
