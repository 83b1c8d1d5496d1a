"""Learn the filters, in src/nerv360/motion/priors.bin: python core/train_filters.py VIDEO:START:FRAMES:WxH ...

Clips are encoded at three qualities; filters learn what brightness lacks, by Adam. Of a kind of keys there are several:
of each tile, the one learns that suits it best. First keys are coded without filters, then with those that were
learned. Whenever filters change, train contexts again (core/train.py). Measure on other frames, at other sizes:

    python core/train_filters.py film.mp4:20:12:624x312 film.mp4:330:12:640x320 overpass.mp4:80:12:768x384 \\
        lhc_tunnel.mp4:100:12:640x320 lhc_tunnel.mp4:150:12:1024x512 iceland.mp4:64:12:768x384
"""

import math
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from train import CONTEXTS_BYTES, FILTERS, NETWORKS_BYTES, TARGET, frames_of

from nerv360.motion.core import Core
from nerv360.motion.encoder import MOTION_WEIGHT, RATE_WEIGHT, Tuning, steps_of
from nerv360.motion.flow import Flow
from nerv360.motion.keys import assign_slots, key_order

STEPS = (16.0, 28.0, 48.0)  # of the root
TILE, BATCH, RATE = 64, 16, 3e-3
TURNS = (("coded without filters", 2000), ("coded with filters", 4000))  # and rounds of each
SHARED, WARMTH, LEAST_SHARE = 0.5, 0.02, 0.03  # how filters come to differ: `shares`
CHANNELS = (1, 8, 8, 1)
WEIGHT_UNIT, BIAS_UNIT = 512, 256  # in one


class Example(NamedTuple):
    references: int
    step: float
    decoded: NDArray[np.float32]  # brightness [H, W], not filtered
    source: NDArray[np.float32]


class Filters(nn.Module):
    """What each filter adds [n, FILTERS, 64, 64] to tiles [n, 1, 64, 64] of brightness, both in steps."""

    def __init__(self) -> None:
        super().__init__()
        first, *rest = pairwise(CHANNELS)
        self.layers = nn.ModuleList([nn.Conv2d(first[0], FILTERS * first[1], 3)])
        self.layers += [nn.Conv2d(FILTERS * a, FILTERS * b, 3, groups=FILTERS) for a, b in rest]
        for values in self.layers[-1].parameters():
            nn.init.zeros_(values)

    def forward(self, tiles: Tensor) -> Tensor:
        margin = len(self.layers)
        values = functional.pad(tiles, (margin,) * 4, mode="replicate")
        for layer in self.layers[:-1]:
            values = torch.relu(layer(values))
        return torch.as_tensor(self.layers[-1](values))

    def packed(self) -> bytes:
        """As core/filter.c reads them."""
        parts = []
        for number in range(FILTERS):
            for layer in self.layers:
                bias, weight = (values.detach().chunk(FILTERS)[number] for values in (layer.bias, layer.weight))
                for values in (bias * BIAS_UNIT, (weight * WEIGHT_UNIT).permute(2, 3, 1, 0)):
                    parts.append(values.round().numpy().clip(-32768, 32767).astype("<i2").tobytes())
        return b"".join(parts)


class Teacher(Core):
    """Keys whose pictures may be had without their filters."""

    def unfiltered(self, slot: int) -> NDArray[np.uint8]:
        """A key's picture [H, W, 3]; the key must be read again, before others are predicted from it."""
        self._call("unfilter", slot)
        return self.pixels(slot, 0, 0, self.height, self.width)


def brightness(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(picture.sum(axis=2, dtype=np.float32) / np.float32(math.sqrt(3)))


def examples(name: str, priors: bytes) -> Iterator[Example]:
    """Keys of a clip."""
    frames = frames_of(name)
    count, height, width = frames.shape[:3]
    flow, tuning, keys = Flow(frames), Tuning(), key_order(count, Tuning().interval)
    for step in STEPS:
        core, steps = Teacher(width, height, priors), steps_of(step, tuning, count)
        for key, slot in zip(keys, assign_slots(keys), strict=True):
            candidates = [flow.candidates(key.frame, reference) for reference in key.references]
            own, frame = steps[key.level], frames[key.frame]
            data, _ = core.encode(slot, key, own, frame, candidates, RATE_WEIGHT, MOTION_WEIGHT)
            yield Example(len(key.references), own / 16, brightness(core.unfiltered(slot)), brightness(frame))
            core.decode(slot, key, own, data)


def learn(filters: Filters, known: list[Example], rounds: int, name: str) -> Filters:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    optimiser = torch.optim.Adam(filters.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, rounds)
    for number in range(1, rounds + 1):
        tiles = [tile_of(known[rng.integers(len(known))], rng) for _ in range(BATCH)]
        decoded, lacks = (torch.from_numpy(np.stack(each))[:, None] for each in zip(*tiles, strict=True))
        left = (filters(decoded) - lacks).square().mean((2, 3))
        loss = (left * shares(left.detach(), lacks.square().mean((2, 3)), number / rounds)).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if number % 500 == 0:
            print(f"{name}: {number} of {rounds}, {left.amin(1).mean().item():.4f} squared steps left", flush=True)
    return filters


def shares(left: Tensor, before: Tensor, progress: float) -> Tensor:
    """How much each filter learns of each tile [n, FILTERS], by what it leaves [n, FILTERS] of what there was [n, 1].

    At first all learn that are nearly as good as the best, in the end the best, the others hardly.
    """
    warmth = WARMTH * before * max(0.0, 1 - progress / SHARED) + 1e-6
    best = torch.softmax((left.amin(1, keepdim=True) - left) / warmth, 1)
    return (1 - LEAST_SHARE) * best + LEAST_SHARE / FILTERS


def tile_of(example: Example, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A tile, perhaps mirrored, less its mean, and what it lacks: both in steps."""
    y, x = (rng.integers(size - TILE + 1) for size in example.decoded.shape)
    decoded, source = (each[y : y + TILE, x : x + TILE] for each in (example.decoded, example.source))
    turn = 1 if rng.random() < 0.5 else -1
    values = ((decoded - decoded.mean()) / example.step)[:, ::turn].astype(np.float32)
    return values, ((source - decoded) / example.step)[:, ::turn].astype(np.float32)


def main() -> None:
    torch.manual_seed(0)
    contexts, kinds = zlib.decompress(TARGET.read_bytes())[:CONTEXTS_BYTES], [Filters() for _ in range(3)]
    networks = bytes(NETWORKS_BYTES)
    for turn, rounds in TURNS:
        known: tuple[list[Example], ...] = ([], [], [])
        for name in sys.argv[1:]:
            for each in examples(name, contexts + networks):
                known[each.references].append(each)
            print(f"{name}: {turn}", flush=True)
        names = [f"keys with {references} references, {turn}" for references in range(3)]
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            kinds = list(pool.map(learn, kinds, known, (rounds,) * 3, names))
        networks = b"".join(filters.packed() for filters in kinds)
        TARGET.write_bytes(zlib.compress(contexts + networks, 9))


if __name__ == "__main__":
    main()
