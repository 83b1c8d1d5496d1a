"""Real numbers <-> integers <-> chunks."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from nerv360.bitstream.latent_tables import read_angles, read_tables, write_angles, write_tables
from nerv360.bitstream.weights import QuantizedTensor, dequantize, quantize, read_weights, step_code, write_weights
from nerv360.entropy.laplace import SCALES, best_scale
from nerv360.entropy.range_coder import MAX_ABS_VALUE, write_varint
from nerv360.errors import BitstreamError
from nerv360.latents.integer_context_model import IntegerContextModel
from nerv360.latents.quantization import ChannelQuantizer, dequantize_latent, quantize_embedding, quantize_grid

Floats = NDArray[np.float32]

weights = arrays(np.float32, array_shapes(max_dims=4, max_side=4), elements=st.floats(-200, 200, width=32))
embeddings = arrays(np.float32, (2, 3, 4), elements=st.floats(-1e4, 1e4, width=32))
SHAPES = {"a.weight": (3, 2, 1, 1), "a.bias": (3,), "b.weight": (2, 5), "b.bias": (2,)}


def step_of(code: int) -> float:
    return 2.0 ** ((code - 224) / 8)


def tensors(seed: int = 0) -> dict[str, QuantizedTensor]:
    rng = np.random.default_rng(seed)
    return {name: quantize(rng.normal(size=shape).astype(np.float32), 8) for name, shape in SHAPES.items()}


def contexts(channels: int) -> IntegerContextModel:
    return IntegerContextModel.of(np.arange(IntegerContextModel.size(channels), dtype=np.int32) * 9 - 300, channels)


@given(weights, st.integers(2, 16))
def test_weights_are_off_by_half_a_step_at_most(tensor: Floats, bits: int) -> None:
    quantized = quantize(tensor, bits)
    assert np.abs(quantized.symbols).max() <= 2 ** (bits - 1) - 1
    error = np.abs(dequantize(quantized).astype(np.float64) - tensor).max()
    rounding = 1e-7 * np.abs(tensor).max()  # of float32
    assert quantized.step == 255 or error <= step_of(quantized.step) / 2 + rounding  # 255: the largest there is


@given(weights, st.integers(2, 16))
def test_the_step_is_the_least_that_fits(tensor: Floats, bits: int) -> None:
    code = quantize(tensor, bits).step
    largest = np.abs(tensor.astype(np.float64)).max() / (2 ** (bits - 1) - 1)
    assert code == 255 or largest <= step_of(code) * (1 + 1e-12)
    assert code == 0 or largest > step_of(code - 1) * (1 - 1e-12)


@given(weights, st.integers(0, 255))
def test_a_given_step_is_kept(tensor: Floats, code: int) -> None:
    quantized = quantize(tensor, step=code)
    assert quantized.step == code == step_code(np.log2(step_of(code)))
    assert quantized.scale == best_scale(quantized.symbols)
    fits = np.abs(tensor) < MAX_ABS_VALUE * step_of(code)
    error = np.abs(dequantize(quantized).astype(np.float64) - tensor)
    assert (error <= step_of(code) / 2 + 1e-7 * np.abs(tensor))[fits].all()
    assert (np.abs(quantized.symbols) == MAX_ABS_VALUE)[~fits].all()


@pytest.mark.parametrize(("logarithm", "code"), [(0, 224), (-1, 216), (0.06, 224), (0.07, 225), (-99, 0), (99, 255)])
def test_step_codes(logarithm: float, code: int) -> None:
    assert step_code(logarithm) == code


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 1, 1)])
def test_zero_stays_zero(shape: tuple[int, ...]) -> None:
    quantized = quantize(np.zeros(shape, np.float32), 8)
    assert not quantized.symbols.any()
    assert quantized.step == quantized.scale == 0
    assert not dequantize(quantized).any()


@given(embeddings, st.integers(1, 8))
def test_embeddings_are_off_by_half_a_step_at_most(channel: Floats, bits: int) -> None:
    symbols, scaling = quantize_embedding(channel, bits)
    assert symbols.min() <= 0 <= symbols.max() < symbols.min() + 2**bits
    assert (np.float32(scaling.offset), np.float32(scaling.step)) == (scaling.offset, scaling.step)
    error = np.abs(dequantize_latent(symbols, scaling).astype(np.float64) - channel).max()
    assert error <= scaling.step / 2 + 1e-7 * np.abs(channel).max() + 2e-5 * scaling.step  # float32: value and step


def test_a_constant_embedding_is_exact() -> None:
    symbols, scaling = quantize_embedding(np.full((2, 3), 0.3, np.float32), 8)
    assert not symbols.any()
    assert (dequantize_latent(symbols, scaling) == np.float32(0.3)).all()


def test_grids_keep_within_the_limits() -> None:
    grid = np.array([0.03, 0.04, -0.04, 1e9, -1e9], np.float32)
    assert quantize_grid(grid, 1 / 16).tolist() == [0, 1, -1, MAX_ABS_VALUE, -MAX_ABS_VALUE]


def test_weights_survive() -> None:
    read = read_weights(write_weights(tensors()), SHAPES)
    assert list(read) == list(SHAPES)
    for name, tensor in tensors().items():
        assert np.array_equal(read[name].symbols, tensor.symbols)
        assert (read[name].step, read[name].scale) == (tensor.step, tensor.scale)


@given(arrays(np.int32, (4, 3), elements=st.integers(-MAX_ABS_VALUE, MAX_ABS_VALUE)), st.integers(0, 255))
def test_any_weights_survive(symbols: NDArray[np.int32], step: int) -> None:
    for scale in {0, best_scale(symbols), SCALES - 1}:
        read = read_weights(write_weights({"a": QuantizedTensor(symbols, step, scale)}), {"a": (4, 3)})["a"]
        assert np.array_equal(read.symbols, symbols)
        assert (read.step, read.scale) == (step, scale)


def test_constant_weights_survive() -> None:
    zeros = {name: quantize(np.zeros(shape, np.float32), 8) for name, shape in SHAPES.items()}
    data = write_weights(zeros)
    assert len(data) <= 2 * len(SHAPES) + 9
    assert not any(tensor.symbols.any() or tensor.step for tensor in read_weights(data, SHAPES).values())


def test_weights_left_over_are_refused() -> None:
    with pytest.raises(BitstreamError):
        read_weights(write_weights(tensors()), {**SHAPES, "b.weight": (2, 1)})


@pytest.mark.parametrize("scale", [SCALES, 255])
def test_impossible_scales_are_refused(scale: int) -> None:
    data = bytearray(write_weights(tensors()))
    data[len(SHAPES)] = scale
    with pytest.raises(BitstreamError, match="scale"):
        read_weights(bytes(data), SHAPES)


@pytest.mark.parametrize("length", range(2 * len(SHAPES) + 1))
def test_weights_without_their_steps_and_scales_are_refused(length: int) -> None:
    with pytest.raises(BitstreamError):
        read_weights(write_weights(tensors())[:length], SHAPES)


@given(st.lists(st.tuples(*[st.floats(-(2.0**99), 2.0**99, width=32)] * 2), max_size=3), st.binary(max_size=5))
def test_tables_survive(pairs: list[tuple[float, float]], rest: bytes) -> None:
    quantizers, network = [ChannelQuantizer(*pair) for pair in pairs], contexts(4)
    found, read, behind = read_tables(write_tables(quantizers, network) + rest, len(pairs), 4)
    assert (found, behind) == (quantizers, rest)
    assert np.array_equal(read.parameters(), network.parameters())


def test_missing_tables_are_refused() -> None:
    data = write_tables([ChannelQuantizer(-1.5, 0.125)] * 2, contexts(2))
    for wrong, spread, channels in ((data, 3, 2), (data, 2, 3), (data, 2, 1), (data, 1, 2), (data, 10**6, 2)):
        with pytest.raises(BitstreamError):
            read_tables(wrong, spread, channels)
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            read_tables(data[:length], 2, 2)


def test_angles_survive() -> None:
    angles = np.array([[0, 0, 0], [17999, -9000, 5], [-18000, 9000, -5], [-18000, 0, 18000]], dtype=np.int32)
    data = write_angles(angles)
    assert np.array_equal(read_angles(data, 4), angles)
    for wrong, frames in ((data, 3), (data, 5), (data[:-1], 4), (data + b"x", 4), (b"", 4), (b"\0" * 9, 4)):
        with pytest.raises(BitstreamError):
            read_angles(wrong, frames)


def test_a_bomb_of_angles_is_refused() -> None:
    with pytest.raises(BitstreamError):
        read_angles(zlib.compress(bytes(10**8), 9), 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("position", [0, 1])
def test_scaling_must_be_finite(value: float, position: int) -> None:
    scaling = ChannelQuantizer(value, 1.0) if position == 0 else ChannelQuantizer(0.0, value)
    with pytest.raises(BitstreamError):
        read_tables(write_tables([scaling], contexts(1)), 1, 1)


def test_endless_excesses_are_refused() -> None:
    endless = write_varint(2**30) + b"\x01" * 1000
    with pytest.raises(BitstreamError):
        read_weights(bytes(2 * len(SHAPES)) + endless, SHAPES)
    with pytest.raises(BitstreamError):
        read_tables(write_varint(len(endless)) + endless, 0, 1)
