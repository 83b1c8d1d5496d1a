"""The network of nerv360-grid as passes of grid.glsl, as web/player/grid/passes.js makes them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerv360.latents.grid import stage_strides
from nerv360.models.network_config import NetworkConfig

__all__ = ["GridPasses", "MotionPass", "Pass", "Stage", "StagePass", "grid_passes", "shader_source", "texels"]

SHADERS = Path(__file__).parents[1] / "web" / "player" / "grid" / "grid.glsl"
MAX_TARGETS = 4  # that every GPU draws at once

Floats = NDArray[np.float32]
Defines = dict[str, int | str]


@dataclass(frozen=True, eq=False)
class Pass:
    """A program: what it is compiled with, and the texels of a pixel that it draws at once."""

    defines: Defines
    targets: int


@dataclass(frozen=True, eq=False)
class MotionPass(Pass):
    """Samples the motion field."""

    latent: int


@dataclass(frozen=True, eq=False)
class StagePass(Pass):
    """Grids enter the features, and the picture beside them."""

    cell: int  # pixels of the view to one of the pass
    layers: list[tuple[int, int]]  # latents that enter, texel by texel


@dataclass(frozen=True)
class Stage:
    """A convolution to all phases of a block of stride x stride pixels, and the grids behind it."""

    stride: int
    convolutions: list[Pass]
    entering: StagePass


@dataclass(frozen=True)
class GridPasses:
    """A network."""

    total_stride: int
    motion: MotionPass | None
    first: StagePass
    stages: list[Stage]
    head: Pass

    def all(self) -> list[Pass]:
        """In the order in which they are drawn."""
        stages = [each for stage in self.stages for each in (*stage.convolutions, stage.entering)]
        return [*([self.motion] if self.motion else []), self.first, *stages, self.head]


def texels(channels: int) -> int:
    """Texels, of four channels each."""
    return -(-channels // 4)


def grid_passes(
    config: NetworkConfig,
    weights: Mapping[str, Floats],  # by their names in the network
) -> GridPasses:
    total_stride, *strides = stage_strides(config.decoder_strides)
    stages = [
        Stage(
            stride,
            _convolutions(weights, f"stages.{index}.conv", kernel, stride),
            _entering(config, weights, cell, outputs, stride, (f"stages.{index}.project", f"stages.{index}.to_rgb")),
        )
        for index, ((_, outputs, kernel, stride), cell) in enumerate(zip(config.stages(), strides, strict=True))
    ]
    (head,) = _convolutions(weights, "head", 3, 1)
    motion = next((latent for latent, grid in enumerate(config.grids) if grid.motion), None)
    return GridPasses(
        total_stride,
        None if motion is None else MotionPass({"MOTION": 1}, 1, motion),
        _entering(config, weights, total_stride, config.channels[0], 0, ("expand", "to_rgb")),
        stages,
        Pass({"HEAD" if name == "CONVOLUTION" else name: value for name, value in head.defines.items()}, 1),
    )


def _entering(
    config: NetworkConfig,
    weights: Mapping[str, Floats],
    cell: int,
    outputs: int,
    stride: int,  # of the convolution before; 0: there is none
    names: tuple[str, str],  # layers to the features, and to the picture
) -> StagePass:
    latents = [latent for latent, grid in enumerate(config.grids) if grid.stride == cell and not grid.motion]
    layers = [(latent, layer) for latent in latents for layer in range(texels(config.grids[latent].channels))]
    moving = any(grid.motion for grid in config.grids) and not all(config.grids[latent].static for latent in latents)
    defines: Defines = {"STAGE": 1, "FEATURES": texels(outputs), "LAYERS": len(layers)}
    if stride:
        defines["STRIDE"] = stride
    else:
        defines["BIAS"] = _array("vec4", _padded(weights[f"{names[0]}.bias"], 0).reshape(-1, 4))
    if moving:
        defines |= {"MOVING": 1, "CELL": math.prod(config.decoder_strides) // cell}
    if layers:
        counts = [config.grids[latent].channels for latent in latents]
        rows = [_padded_channels(weights[f"{name}.weight"][..., 0, 0], counts) for name in names]
        both = np.concatenate(rows).reshape(texels(outputs) + 1, 4, len(layers), 4)  # [to, row, from, column]
        defines["WEIGHTS"] = _array("mat4", both.transpose(2, 0, 3, 1).reshape(-1, 16))
    return StagePass(defines, texels(outputs) + 1, cell, layers)


def _convolutions(weights: Mapping[str, Floats], name: str, kernel: int, stride: int) -> list[Pass]:
    """As few passes as draw all phases."""
    phases, taps = stride**2, kernel**2
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    weight = _padded(_padded(weight.reshape(-1, phases, weight.shape[1], taps), 0), 2)
    weight = weight.reshape(-1, 4, phases, weight.shape[2] // 4, 4, taps)  # [to, row, phase, from, column, tap]
    matrices = weight.transpose(5, 3, 2, 0, 4, 1).reshape(taps, weight.shape[3], -1, 16)
    biases = _padded(bias.reshape(-1, phases), 0).reshape(-1, 4, phases).transpose(2, 0, 1).reshape(-1, 4)
    passes = []
    for first in range(0, len(biases), MAX_TARGETS):
        batch = slice(first, first + MAX_TARGETS)
        defines: Defines = {
            "CONVOLUTION": 1,
            "KERNEL": kernel,
            "FEATURES": weight.shape[3],
            "TARGETS": len(biases[batch]),
            "WEIGHTS": _array("mat4", matrices[:, :, batch].reshape(-1, 16)),
            "BIAS": _array("vec4", biases[batch]),
        }
        passes.append(Pass(defines, len(biases[batch])))
    return passes


def _padded_channels(weight: Floats, counts: Sequence[int]) -> Floats:
    """The weights [to, from] of grids of so many channels, each of which begins with a texel."""
    parts = np.split(weight, np.cumsum(counts)[:-1], axis=1)
    return np.concatenate([_padded(_padded(part, 1), 0) for part in parts], axis=1)


def _padded(values: Floats, axis: int) -> Floats:
    """Zeros behind the values, to whole texels."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, -values.shape[axis] % 4)
    return np.pad(values, widths)


def _array(kind: str, rows: Floats) -> str:
    """As GLSL writes an array."""
    items = (",".join(f"{value:.8e}" for value in row) for row in rows)
    return f"{kind}[]({','.join(f'{kind}({item})' for item in items)})"


def shader_source(defines: Defines) -> str:
    """What grid.glsl is for a pass, with its repetitions written out."""
    named = [f"#define {name} {value}" for name, value in defines.items()]
    lines = iter(SHADERS.read_text(encoding="utf-8").splitlines())
    return "\n".join([*named, *_unrolled(lines, defines)])


def _unrolled(lines: Iterator[str], sizes: Defines) -> list[str]:
    found = []
    for line in lines:
        if line == "#end":
            break
        if not line.startswith("#repeat"):
            found.append(line)
            continue
        _, name, size = line.split()
        body = _unrolled(lines, sizes)
        for index in range(int(sizes.get(size, 0))):
            found += [f"#define {name} {index}", *body, f"#undef {name}"]
    return found
