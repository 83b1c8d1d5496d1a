"""What the shaders of a nerv360-grid file cost per pixel of a view, and how fast named GPUs should draw them.

python benchmarks/player/cost.py FILE
Derived, not measured: a GPU is taken to reach SHARE of what it is rated at, in arithmetic and in memory, whichever
takes longer. Bytes are those of textures that are written once and read once; a cache serves the other reads.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import typer

from nerv360.backends.grid_passes import GridPasses, Pass, grid_passes
from nerv360.bitstream.container import Container
from nerv360.codec.load_network import load_network

TEXEL = 8  # bytes: four numbers in half precision
SHARE = 1 / 3
GPUS = {  # GFLOP/s in single precision and GB/s, as they are rated
    "Intel UHD 620 (laptop, 2017)": (403, 34),
    "Intel Iris Xe, 96 units (laptop, 2020)": (2070, 68),
    "Apple M1, 8 cores (laptop, 2020)": (2620, 68),
    "Adreno 618 (middling phone, 2019)": (300, 15),
    "Adreno 640 (phone, 2019)": (898, 34),
    "Adreno 660 (phone, 2021)": (1382, 51),
}
PIXELS = 1920 * 1080


@dataclass(frozen=True)
class Cost:
    """Per pixel of the view."""

    multiply_adds: float
    reads: float  # of textures
    bytes: float  # from and to memory


def main(file: Path) -> None:
    with Container(file) as container:
        network = load_network(container, container.segments[0], torch.device("cpu")).network
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    cost = cost_of(grid_passes(network.config, weights))
    print(f"{cost.multiply_adds:.0f} multiply-adds, {cost.reads:.1f} reads, {cost.bytes:.0f} bytes per pixel")
    for name, (gflops, gigabytes) in GPUS.items():
        seconds = PIXELS * max(2 * cost.multiply_adds / gflops, cost.bytes / gigabytes) / 1e9 / SHARE
        print(f"{name}: {1 / seconds:.0f} pictures of 1920x1080 a second")


def cost_of(passes: GridPasses) -> Cost:
    costs = [pass_cost(passes.first, passes.first.cell, sampled=2 * len(passes.first.layers))]
    if passes.motion:
        costs.append(pass_cost(passes.motion, passes.total_stride, sampled=2))
    before = passes.first
    for stage in passes.stages:
        costs += [pass_cost(each, before.cell, fetched=before.targets) for each in stage.convolutions]
        entering, own = stage.entering, int(stage.entering.defines["FEATURES"])
        moving = 4 if "MOVING" in entering.defines else 0
        sampled = 2 * len(entering.layers)
        costs.append(pass_cost(entering, entering.cell, fetched=own, sampled=sampled + moving + 1))
        before = entering
    costs.append(pass_cost(passes.head, 1, fetched=before.targets))
    return Cost(*(sum(column) for column in zip(*costs, strict=True)))


def pass_cost(each: Pass, cell: int, fetched: int = 0, sampled: int = 0) -> tuple[float, float, float]:
    """Of texels that are fetched around every pixel of the pass, and of others that are sampled at it."""
    matrices = str(each.defines.get("WEIGHTS", "")).count("mat4(")
    taps = int(each.defines.get("KERNEL", 1)) ** 2
    reads = taps * int(each.defines["FEATURES"]) if "KERNEL" in each.defines else fetched
    pixels = 1 / cell**2
    return pixels * 16 * matrices, pixels * (reads + sampled), pixels * TEXEL * (fetched + each.targets)


if __name__ == "__main__":
    typer.run(main)
