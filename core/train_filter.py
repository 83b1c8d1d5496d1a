"""Learn the filter's networks, in src/nerv360/motion/priors.bin: python core/train_filter.py VIDEO:START:FRAMES:WxH ...

Clips are encoded without the filter, at three qualities; the networks learn what their brightness lacks, tile by tile,
by Adam. Whenever they change, train contexts again (core/train.py). Measure on other frames, at other sizes:

    python core/train_filter.py film.mp4:20:12:624x312 film.mp4:330:12:640x320 overpass.mp4:80:12:768x384 \\
        lhc_tunnel.mp4:100:12:640x320 lhc_tunnel.mp4:150:12:1024x512 iceland.mp4:64:12:768x384
"""

import math
import sys
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from train import CONTEXTS_BYTES, NETWORK_BYTES, TARGET, frames_of

from nerv360.motion.core import Core
from nerv360.motion.encoder import MOTION_WEIGHT, RATE_WEIGHT, Tuning, steps_of
from nerv360.motion.flow import Flow
from nerv360.motion.keys import assign_slots, key_order

STEPS = (16.0, 28.0, 48.0)  # of the root
TILE, BATCH, ROUNDS, RATE = 64, 8, 5000, 3e-3
CHANNELS = (1, 8, 8, 1)
WEIGHT_UNIT, BIAS_UNIT = 512, 256  # in one


class Example(NamedTuple):
    references: int
    step: float
    decoded: NDArray[np.float32]  # brightness [H, W]
    source: NDArray[np.float32]


class Network(nn.Module):
    """What is added to tiles [n, 1, 64, 64] of brightness, both in steps."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(*sizes, 3) for sizes in pairwise(CHANNELS))
        for values in self.layers[-1].parameters():
            nn.init.zeros_(values)

    def forward(self, tiles: Tensor) -> Tensor:
        margin = len(self.layers)
        values = functional.pad(tiles, (margin,) * 4, mode="replicate")
        for layer in self.layers[:-1]:
            values = torch.relu(layer(values))
        return torch.as_tensor(self.layers[-1](values))


def brightness(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(picture.sum(axis=2, dtype=np.float32) / np.float32(math.sqrt(3)))


def examples(name: str, contexts: bytes) -> Iterator[Example]:
    """Keys of a clip, coded without the filter."""
    frames = frames_of(name)
    count, height, width = frames.shape[:3]
    flow, tuning, keys = Flow(frames), Tuning(), key_order(count, Tuning().interval)
    for step in STEPS:
        core, steps = Core(width, height, contexts + bytes(NETWORK_BYTES)), steps_of(step, tuning, count)
        for key, slot in zip(keys, assign_slots(keys), strict=True):
            candidates = [flow.candidates(key.frame, reference) for reference in key.references]
            core.encode(slot, key, steps[key.level], frames[key.frame], candidates, RATE_WEIGHT, MOTION_WEIGHT)
            decoded, source = core.pixels(slot, 0, 0, height, width), frames[key.frame]
            yield Example(len(key.references), steps[key.level] / 16, brightness(decoded), brightness(source))


def trained(known: list[Example], seed: int) -> Network:
    torch.manual_seed(seed)
    rng, network = np.random.default_rng(seed), Network()
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, ROUNDS)
    for number in range(1, ROUNDS + 1):
        tiles = [tile_of(known[rng.integers(len(known))], rng) for _ in range(BATCH)]
        decoded, lacks = (torch.from_numpy(np.stack(each))[:, None] for each in zip(*tiles, strict=True))
        loss = functional.mse_loss(network(decoded), lacks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if number % 500 == 0:
            print(f"network {seed}: {number} of {ROUNDS}, {loss.item():.4f} squared steps left", flush=True)
    return network


def tile_of(example: Example, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A tile, perhaps mirrored, less its mean, and what it lacks: both in steps."""
    y, x = (rng.integers(size - TILE + 1) for size in example.decoded.shape)
    decoded, source = (each[y : y + TILE, x : x + TILE] for each in (example.decoded, example.source))
    turn = 1 if rng.random() < 0.5 else -1
    values = ((decoded - decoded.mean()) / example.step)[:, ::turn].astype(np.float32)
    return values, ((source - decoded) / example.step)[:, ::turn].astype(np.float32)


def packed(network: Network) -> bytes:
    """As core/filter.c reads it."""
    parts = []
    for layer in network.layers:
        for values in (layer.bias * BIAS_UNIT, (layer.weight * WEIGHT_UNIT).permute(2, 3, 1, 0)):
            parts.append(values.detach().round().numpy().clip(-32768, 32767).astype("<i2").tobytes())
    return b"".join(parts)


def main() -> None:
    torch.set_num_threads(1)
    contexts, known = zlib.decompress(TARGET.read_bytes())[:CONTEXTS_BYTES], []
    for name in sys.argv[1:]:
        known += examples(name, contexts)
        print(f"encoded {name}", flush=True)
    kinds = [[each for each in known if each.references == references] for references in range(3)]
    networks = [packed(trained(kind, seed)) for seed, kind in enumerate(kinds)]
    TARGET.write_bytes(zlib.compress(contexts + b"".join(networks), 9))


if __name__ == "__main__":
    main()
