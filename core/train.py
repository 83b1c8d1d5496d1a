"""Learn what contexts begin with, src/nerv360/motion/priors.bin: python core/train.py VIDEO:START:FRAMES:WxH ...

Every clip is encoded at four qualities, in a random order; what keys learn goes on to all later ones. Whenever the
contexts change (core/core.h), train again; measure on other frames, at other sizes. Filters stay
(core/train_filters.py).

    python core/train.py film.mp4:20:24:624x312 film.mp4:330:17:640x320 film.mp4:420:17:448x224 \\
        overpass.mp4:80:24:768x384 lhc_tunnel.mp4:100:24:640x320 lhc_tunnel.mp4:150:17:1024x512 \\
        iceland.mp4:64:24:768x384 walk2.mp4:0:17:512x256
"""

import random
import sys
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerv360.motion.core import Core
from nerv360.motion.encoder import MOTION_WEIGHT, RATE_WEIGHT, Tuning, steps_of
from nerv360.motion.flow import Flow
from nerv360.motion.keys import key_order
from nerv360.video.clip import Clip

TARGET = Path(__file__).parent.parent / "src/nerv360/motion/priors.bin"
QUALITIES = ((18.0, 8), (30.0, 4), (45.0, 8), (80.0, 16))  # steps of the root, frames between P keys
FILTERS = 4  # of keys of a kind
NETWORKS_BYTES = 2 * 3 * FILTERS * (8 * (1 + 9) + 8 * (1 + 9 * 8) + 1 + 9 * 8)
CONTEXTS_BYTES = len(zlib.decompress(TARGET.read_bytes())) - NETWORKS_BYTES


class Learner(Core):
    """Keys whose contexts are kept for others."""

    def teach(self, slot: int) -> None:
        """Have all keys of its kind go on from what a key has learned."""
        self._call("teach", slot)

    def learned(self) -> bytes:
        """What keys begin with."""
        output = self._reserved("learned", CONTEXTS_BYTES)
        return self._view(output, self._call("learned", output)).tobytes()


def frames_of(name: str) -> NDArray[np.uint8]:
    """A clip [n, H, W, 3]: part of a video, scaled."""
    path, start, frames, size = name.rsplit(":", 3)
    width, height = map(int, size.split("x"))
    return np.stack(list(Clip.open(path, start=int(start), frames=int(frames), size=(width, height))))


def study(frames: NDArray[np.uint8], step: float, interval: int, priors: bytes) -> bytes:
    """Encode a clip, beginning with `priors`; returns what was learned then."""
    count, height, width = frames.shape[:3]
    core, flow, tuning = Learner(width, height, priors=priors), Flow(frames), Tuning(interval)
    steps = steps_of(step, tuning, count)
    for key in key_order(count, interval):
        candidates = [flow.candidates(key.frame, reference) for reference in key.references]
        core.encode(key.frame, key, steps[key.level], frames[key.frame], candidates, RATE_WEIGHT, MOTION_WEIGHT)
        core.teach(key.frame)
    return core.learned()


def main() -> None:
    runs = [(name, quality) for name in sys.argv[1:] for quality in QUALITIES]
    random.Random(0).shuffle(runs)
    networks = zlib.decompress(TARGET.read_bytes())[CONTEXTS_BYTES:]
    contexts = bytes(CONTEXTS_BYTES)
    for number, (name, (step, interval)) in enumerate(runs, start=1):
        contexts = study(frames_of(name), step, interval, contexts + networks)
        print(f"{number} of {len(runs)}: {name}, step {step:g}", flush=True)
    TARGET.write_bytes(zlib.compress(contexts + networks, 9))


if __name__ == "__main__":
    main()
