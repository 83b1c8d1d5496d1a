"""Real numbers <-> integers <-> chunks."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from nerv360.bitstream.entropy import FrequencyTable, write_varint
from nerv360.codec.chunks import (
    LatentTables,
    read_angles,
    read_part,
    read_tables,
    read_weights,
    write_angles,
    write_part,
    write_tables,
    write_weights,
)
from nerv360.codec.quantize import (
    QuantizedTensor,
    Scaling,
    dequantize,
    dequantize_latent,
    quantize,
    quantize_embedding,
)
from nerv360.errors import BitstreamError

Floats = NDArray[np.float32]

weights = arrays(np.float32, array_shapes(max_dims=4, max_side=4), elements=st.floats(-200, 200, width=32))
embeddings = arrays(np.float32, (2, 3, 4), elements=st.floats(-1e4, 1e4, width=32))
SHAPES = {"a.weight": (3, 2, 1, 1), "a.bias": (3,), "b.weight": (2, 5), "b.bias": (2,)}


def step_of(codes: NDArray[np.int32]) -> NDArray[np.float64]:
    return 2.0 ** ((codes - 224) / 8)


def tensors(seed: int = 0) -> dict[str, QuantizedTensor]:
    rng = np.random.default_rng(seed)
    return {name: quantize(rng.normal(size=shape).astype(np.float32), 8) for name, shape in SHAPES.items()}


def embedding_tables(symbols: NDArray[np.int32]) -> LatentTables:
    return [(Scaling(-1.5, 0.125), FrequencyTable.of(symbols[:, channel])) for channel in range(symbols.shape[1])]


@given(weights, st.integers(2, 16))
def test_weights_are_off_by_half_a_step_at_most(tensor: Floats, bits: int) -> None:
    quantized = quantize(tensor, bits)
    steps = step_of(quantized.steps)
    assert len(steps) == (tensor.shape[0] if tensor.ndim > 1 else 1)
    assert np.abs(quantized.symbols).max() <= 2 ** (bits - 1) - 1
    error = np.abs(dequantize(quantized).astype(np.float64) - tensor).reshape(len(steps), -1)
    fits = quantized.steps < 255  # the largest step that can be coded
    rounding = 1e-7 * np.abs(tensor).max()  # of float32
    assert (error[fits] <= steps[fits, None] / 2 + rounding).all()


@given(weights, st.integers(2, 16))
def test_the_step_is_the_least_that_fits(tensor: Floats, bits: int) -> None:
    codes = quantize(tensor, bits).steps
    largest = np.abs(tensor.astype(np.float64)).reshape(len(codes), -1).max(axis=1) / (2 ** (bits - 1) - 1)
    assert (largest <= step_of(codes) * (1 + 1e-12))[codes < 255].all()
    assert (largest > step_of(codes - 1) * (1 - 1e-12))[codes > 0].all()


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 1, 1)])
def test_zero_stays_zero(shape: tuple[int, ...]) -> None:
    quantized = quantize(np.zeros(shape, np.float32), 8)
    assert not quantized.symbols.any()
    assert not quantized.steps.any()
    assert not dequantize(quantized).any()


def test_each_output_channel_has_its_own_step() -> None:
    steps = quantize(np.array([[1, -2], [100, 50]], np.float32), 8).steps
    assert steps.tolist() == [224 - 47, 224 - 2]  # 2 / 127 = 2^(-5.99), 100 / 127 = 2^(-0.34)
    assert quantize(np.array([1, -2, 100, 50], np.float32), 8).steps.tolist() == [224 - 2]


@given(embeddings, st.integers(1, 8))
def test_embeddings_are_off_by_half_a_step_at_most(channel: Floats, bits: int) -> None:
    symbols, scaling = quantize_embedding(channel, bits)
    assert 0 <= symbols.min() <= symbols.max() < 2**bits
    assert (np.float32(scaling.least), np.float32(scaling.step)) == (scaling.least, scaling.step)
    error = np.abs(dequantize_latent(symbols, scaling).astype(np.float64) - channel).max()
    assert error <= scaling.step / 2 + 1e-7 * np.abs(channel).max() + 2e-5 * scaling.step  # float32: value and step


def test_a_constant_embedding_is_exact() -> None:
    symbols, scaling = quantize_embedding(np.full((2, 3), 0.3, np.float32), 8)
    assert not symbols.any()
    assert (dequantize_latent(symbols, scaling) == np.float32(0.3)).all()


def test_weights_survive() -> None:
    read = read_weights(write_weights(tensors()), SHAPES)
    assert list(read) == list(SHAPES)
    for name, tensor in tensors().items():
        assert np.array_equal(read[name].symbols, tensor.symbols)
        assert np.array_equal(read[name].steps, tensor.steps)


def test_constant_weights_survive() -> None:
    zeros = {name: quantize(np.zeros(shape, np.float32), 8) for name, shape in SHAPES.items()}
    read = read_weights(write_weights(zeros), SHAPES)
    assert not any(tensor.symbols.any() or tensor.steps.any() for tensor in read.values())


def test_weights_left_over_are_refused() -> None:
    with pytest.raises(BitstreamError):
        read_weights(write_weights(tensors()), {**SHAPES, "b.weight": (2, 1)})


@pytest.mark.parametrize("code", [-1, 256])
def test_impossible_steps_are_refused(code: int) -> None:
    wrong = {name: QuantizedTensor(t.symbols, np.full_like(t.steps, code)) for name, t in tensors().items()}
    wrong["b.bias"].steps[:] = 3
    with pytest.raises(BitstreamError, match="step"):
        read_weights(write_weights(wrong), SHAPES)


@given(arrays(np.int32, (3, 2, 2, 4), elements=st.integers(0, 255)))
def test_embeddings_survive(symbols: NDArray[np.int32]) -> None:
    tables = embedding_tables(symbols)
    assert read_tables(write_tables(tables) + b"rest", 2) == (tables, b"rest")
    for group in (symbols, symbols[2:]):
        assert np.array_equal(read_part(write_part(group, tables), tables, len(group), 2, 4), group)


def test_missing_tables_are_refused() -> None:
    tables = embedding_tables(np.arange(16, dtype=np.int32).reshape(1, 2, 2, 4))
    with pytest.raises(BitstreamError):
        read_tables(write_tables(tables), 3)


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
    scaling = Scaling(value, 1.0) if position == 0 else Scaling(0.0, value)
    with pytest.raises(BitstreamError):
        read_tables(write_tables([(scaling, FrequencyTable(0, (1, 65535)))]), 1)


def test_an_endless_table_is_refused() -> None:
    with pytest.raises(BitstreamError):
        read_weights(write_varint(0) + write_varint(2**30) + b"\x01" * 1000, SHAPES)
