"""The learned filters of nerv360-motion, as docs/motion-bitstream.md has it."""

import zlib
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from reference_motion_bits import CONTEXTS, MIXERS, PRIORS

Array = NDArray[Any]
TILE, FILTERS = 64, 4
SHAPES = ((1, 8), (8, 8), (8, 1))  # inputs and outputs of layers


class Layer(NamedTuple):
    biases: Array  # [outputs]
    weights: Array  # [3, 3, inputs, outputs]


@cache
def filters() -> list[list[list[Layer]]]:
    """Four for keys with no, one and two references."""
    return unpacked(zlib.decompress(PRIORS.read_bytes()))


def unpacked(priors: bytes) -> list[list[list[Layer]]]:
    numbers = np.frombuffer(priors[3 * (2 * CONTEXTS + 12 * MIXERS) :], "<i2").astype(np.int64)
    found: list[list[Layer]] = []
    for _ in range(3 * FILTERS):
        found.append([])
        for inputs, outputs in SHAPES:
            biases, rest = numbers[:outputs], numbers[outputs:]
            found[-1].append(Layer(biases, rest[: 9 * inputs * outputs].reshape(3, 3, inputs, outputs)))
            numbers = rest[9 * inputs * outputs :]
    return [found[FILTERS * kind : FILTERS * (kind + 1)] for kind in range(3)]


def filtered(plane: Array, numbers: Array, filters: list[list[Layer]], step: int) -> Array:
    """A plane whose tiles have these filters [rows, columns], 0 for none; the step is in 1/16."""
    plane = plane.copy()
    for i, j in np.argwhere(numbers):
        place = np.s_[TILE * i : TILE * (i + 1), TILE * j : TILE * (j + 1)]
        plane[place] = filtered_tile(plane[place].astype(np.int64), filters[numbers[i, j] - 1], step)
    return plane


def filtered_tile(tile: Array, layers: list[Layer], step: int) -> Array:
    values = (tile - tile.sum() // tile.size) * (4194304 // step) >> 16
    outputs = np.pad(np.clip(values, -8191, 8191), 3, mode="edge")[..., None]
    for number, layer in enumerate(layers):
        outputs = np.clip(convolved(outputs, layer), -8191 if number == 2 else 0, 8191)
    return np.clip(tile + (outputs[..., 0] * step + 32 >> 6), -32768, 32767)


def convolved(inputs: Array, layer: Layer) -> Array:
    rows, columns = inputs.shape[0] - 2, inputs.shape[1] - 2
    sums = np.broadcast_to(128 * layer.biases, (rows, columns, len(layer.biases)))
    for y, x in np.ndindex(3, 3):
        sums = sums + inputs[y : y + rows, x : x + columns] @ layer.weights[y, x]
    return sums.astype(np.int32) >> 9  # they wrap
