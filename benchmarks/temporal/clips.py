"""Clips named on the command line: VIDEO:START:FRAMES:WxH."""

import numpy as np
from numpy.typing import NDArray

from nerv360.video.clip import Clip


def opened(name: str) -> Clip:
    """Part of a video, scaled."""
    path, start, frames, size = name.rsplit(":", 3)
    width, height = map(int, size.split("x"))
    return Clip.open(path, start=int(start), frames=int(frames), size=(width, height))


def frames_of(clip: Clip) -> NDArray[np.uint8]:
    """All frames [n, H, W, 3]."""
    return np.stack(list(clip))
