"""The context model: in integers as a file holds it, and in real numbers as it is fitted."""

import math

import numpy as np
import pytest
import reference_decoder
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_bitstream import random_contexts
from torch import Tensor

from nerv360.entropy.laplace import FRACTIONS, MAX_SYMBOL, SCALES_PER_OCTAVE, UNIT_SCALE, frequencies
from nerv360.entropy.range_coder import MAX_ABS_VALUE, MAX_ESCAPE, Integers, SymbolEncoder
from nerv360.entropy.rate import tailed_laplace_bits
from nerv360.errors import BitstreamError
from nerv360.latents import integer_context_model as exact
from nerv360.latents.coding_order import CODING_PASSES, key_coding_order
from nerv360.latents.context_features import (
    ContextFeatures,
    coding_passes,
    concatenate_padded,
    context_offsets,
    context_sums,
    gather_context,
    padded_index,
    padded_size,
)
from nerv360.latents.context_model import ContextModel, fit_context_model
from nerv360.latents.integer_context_model import (
    FIXED_POINT_ONE_MEAN,
    IntegerContextModel,
    read_context_model,
    read_latent,
    write_context_model,
    write_latent,
)

SHAPES = [(1, 1, 1, 2), (3, 2, 13, 26), (9, 1, 7, 10), (1, 4, 7, 10), (6, 1, 1, 2), (2, 3, 9, 8), (17, 1, 2, 4)]


def random_latent(shape: tuple[int, int, int, int], seed: int = 0) -> Integers:
    """Keys that go on slowly, cells of all sizes, some of them huge."""
    rng = np.random.default_rng(seed)
    keys = rng.laplace(0, 9, shape).cumsum(axis=0) + rng.laplace(0, 2, shape).cumsum(axis=-1)
    keys = np.where(rng.random(shape) < 0.02, rng.uniform(-MAX_ABS_VALUE, MAX_ABS_VALUE, shape), keys)
    return np.clip(np.rint(keys), -MAX_ABS_VALUE, MAX_ABS_VALUE).astype(np.int32)


def smooth_latent(shape: tuple[int, int, int, int], seed: int = 0) -> Integers:
    """Such keys as a fit comes to: calm and busy regions, with much in common from key to key."""
    rng = np.random.default_rng(seed)
    _, channels, rows, columns = shape
    busy = np.exp(rng.normal(0, 1.2, (channels, rows // 8 + 1, columns // 8 + 1))).repeat(8, 1).repeat(8, 2)
    own = rng.laplace(0, 0.6, shape) + rng.laplace(0, 2, (1, *shape[1:]))
    return np.rint(own * busy[:, :rows, :columns]).astype(np.int32)


def fitted_contexts(groups: list[Integers]) -> IntegerContextModel:
    """Without the hundreds of steps of the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerv360.latents.context_model.BATCH", 1024)
        return fit_context_model([(group, 0) for group in groups], ContextModel(groups[0].shape[1]), steps=60)


# The order


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (7, 10), (13, 26), (16, 32)])
def test_every_cell_has_its_turn_after_its_neighbours(rows: int, columns: int) -> None:
    turn = np.full((rows, columns), -1)
    for number, place in enumerate(CODING_PASSES):
        cells = turn[place.row :: place.spacing, place.column :: place.spacing]
        assert (cells == -1).all()
        cells[...] = number
    assert (turn >= 0).all()
    assert np.array_equal(coding_passes(0, 0, rows, columns, torch.device("cpu")), turn)
    for row, column in np.ndindex(rows, columns):
        place = CODING_PASSES[turn[row, column]]
        assert len({*place.near, *place.far}) == len(place.near) + len(place.far)
        for down, right in place.near + place.far:
            if 0 <= row + down < rows and 0 <= column + right < columns:
                assert turn[row + down, column + right] < turn[row, column]


@pytest.mark.parametrize("keys", [1, 2, 3, 4, 5, 8, 9, 16, 17, 64])
def test_every_key_has_its_turn_after_its_references(keys: int) -> None:
    order = key_coding_order(keys)
    assert sorted(key for key, _, _ in order) == list(range(keys))
    known: set[int] = set()
    for key, before, behind in order:
        assert (before is None) == (key == 0)
        assert {before, behind} - {None} <= known
        known.add(key)


# The integer network


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("first_channel", [0, 3])
def test_latents_survive(shape: tuple[int, int, int, int], first_channel: int) -> None:
    symbols, contexts = random_latent(shape), random_contexts(7, shape[0])
    data = write_latent(symbols, contexts, first_channel)
    assert np.array_equal(read_latent(data, contexts, first_channel, shape), symbols)
    assert np.array_equal(by_the_reference_decoder(data, contexts, first_channel, shape), symbols)


def by_the_reference_decoder(
    data: bytes, contexts: IntegerContextModel, first_channel: int, shape: tuple[int, int, int, int]
) -> Integers:
    theirs = reference_decoder.read_contexts(write_context_model(contexts), len(contexts.scale_bias))
    return np.array(reference_decoder.read_latent(data, theirs, first_channel, *[shape[i] for i in (0, 1, 2, 3)]))


SIZE = IntegerContextModel.size(2)
EXTREMES = [-MAX_SYMBOL - MAX_ESCAPE, -1, 0, 1, 300, MAX_SYMBOL + MAX_ESCAPE]


@given(
    st.lists(st.sampled_from(EXTREMES), min_size=IntegerContextModel.size(2), max_size=IntegerContextModel.size(2)),
    st.integers(1, 20),
    st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_extreme_contexts_are_exact(parameters: list[int], spread: int, seed: int) -> None:
    """Whatever a forged file holds is computed without overflow, so all decoders read the same of it."""
    contexts = IntegerContextModel.of(np.array(parameters, dtype=np.int32), 2)
    assert np.array_equal(read_context_model(write_context_model(contexts), 2).parameters(), parameters)
    shape = (3, 2, 5, 6)
    data = stream_of(classes_of(random_latent(shape, seed) // spread, contexts), seed)

    def result(read: object) -> object:
        try:
            return read(data, contexts, 0, shape).tolist()  # type: ignore[operator]
        except (BitstreamError, reference_decoder.Refusal):
            return None

    assert result(read_latent) == result(by_the_reference_decoder)


def classes_of(symbols: Integers, contexts: IntegerContextModel) -> list[NDArray[np.int64]]:
    known, found = np.zeros_like(symbols), []
    for cells, _, classes in exact._coding_passes(known, contexts, 0):
        found.append(np.broadcast_to(classes, known[cells].shape).ravel())
        known[cells] = symbols[cells]
    return found


def stream_of(classes: list[NDArray[np.int64]], seed: int) -> bytes:
    """Integers of these classes, near their middle symbol."""
    encoder, rng = SymbolEncoder(), np.random.default_rng(seed)
    for group in classes:
        encoder.encode(rng.integers(-2, 3, len(group)).astype(np.int32), group)
    return encoder.finish()


def test_sums_of_large_integers_do_not_overflow() -> None:
    parameters = np.zeros(IntegerContextModel.size(1), dtype=np.int32)
    parameters[-4:] = (300, MAX_SYMBOL + MAX_ESCAPE, MAX_SYMBOL + MAX_ESCAPE, MAX_SYMBOL + MAX_ESCAPE)
    symbols = np.full((3, 1, 9, 10), MAX_ABS_VALUE, dtype=np.int32)
    contexts = IntegerContextModel.of(parameters, 1)
    known = np.zeros_like(symbols)
    seen = 0.0
    for cells, centre, _ in exact._coding_passes(known, contexts, 0):
        seen = max(seen, float(centre.max(initial=0)))
        assert centre.min(initial=0) >= 0
        known[cells] = symbols[cells]
    sums, totals = 4 * MAX_ABS_VALUE, 2 * MAX_ABS_VALUE
    assert seen == pytest.approx((2 * sums + 4 * totals) * (MAX_SYMBOL + MAX_ESCAPE) / FIXED_POINT_ONE_MEAN / 8, abs=1)


def test_cut_and_damaged_latents_are_refused_or_others() -> None:
    shape, contexts = (2, 2, 7, 10), random_contexts(2)
    symbols, rng = random_latent(shape), np.random.default_rng(0)
    data = write_latent(symbols, contexts, 0)
    for extra in (b"\0", bytes(4), b"\1\0\0\0"):
        with pytest.raises(BitstreamError):
            read_latent(data + extra, contexts, 0, shape)
    for _ in range(60):
        damaged = bytearray(data[: rng.integers(len(data) // 2, len(data) + 1)])
        damaged[rng.integers(len(damaged))] ^= rng.integers(1, 256)
        try:
            assert np.abs(read_latent(bytes(damaged), contexts, 0, shape)).max() <= MAX_ABS_VALUE
        except BitstreamError:
            continue
    for wrong in ((3, 2, 7, 10), (2, 2, 6, 10), (2, 1, 7, 10)):
        with pytest.raises(BitstreamError):
            read_latent(data, contexts, 0, wrong)


def test_latents_beyond_the_limit_are_refused() -> None:
    contexts = random_contexts(1)
    for value, fits in ((MAX_ABS_VALUE, True), (MAX_ABS_VALUE + 1, False), (-MAX_ABS_VALUE - 1, False)):
        data = write_latent(np.full((1, 1, 1, 2), value, dtype=np.int32), contexts, 0)
        if fits:
            assert (read_latent(data, contexts, 0, (1, 1, 1, 2)) == value).all()
        else:
            with pytest.raises(BitstreamError, match="latent"):
                read_latent(data, contexts, 0, (1, 1, 1, 2))


def test_coded_size_is_that_of_the_classes() -> None:
    symbols = smooth_latent((5, 2, 26, 52))
    contexts = fitted_contexts([symbols])
    known, bits = np.zeros_like(symbols), 0.0
    for cells, centre, classes in exact._coding_passes(known, contexts, 0):
        own = np.clip(symbols[cells] - centre, -MAX_SYMBOL, MAX_SYMBOL) + MAX_SYMBOL
        classes = np.broadcast_to(classes, own.shape)
        bits += sum(
            24 - math.log2(frequencies(number)[symbol])
            for number, symbol in zip(classes.ravel().tolist(), own.ravel().tolist(), strict=True)
        )
        known[cells] = symbols[cells]
    size = len(write_latent(symbols, contexts, 0))
    assert bits / 8 <= size + 4
    assert size <= 1.001 * bits / 8 + 8  # measured: 3 bytes


# The same with real numbers


def dense(values: Tensor, top: int, left: int) -> tuple[Tensor, Tensor]:
    """Sums over the near and the far context, cell by cell."""
    rows, columns = values.shape[-2:]
    sums = []
    for kind in ("near", "far"):
        cells = []
        for row, column in np.ndindex(rows, columns):
            (place,) = (
                place
                for place in CODING_PASSES
                if (row + top - place.row) % place.spacing == 0 and (column + left - place.column) % place.spacing == 0
            )
            around = [(row + down, column + right) for down, right in getattr(place, kind)]
            inside = [values[..., i, j] for i, j in around if 0 <= i < rows and 0 <= j < columns]
            cells.append(torch.stack(inside).sum(0) if inside else torch.zeros_like(values[..., 0, 0]))
        sums.append(torch.stack(cells, dim=-1).unflatten(-1, (rows, columns)))
    return sums[0], sums[1]


@pytest.mark.parametrize(("top", "left"), [(0, 0), (5, 3), (-3, -9), (1, 7)])
def test_sums_over_contexts_and_their_gradients(top: int, left: int) -> None:
    """Of maps of several sizes in one array, none of which is context of another."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(13, 10), (9, 12), (1, 2), (2, 1), (20, 26)]
    maps = [torch.randn(2, *size, dtype=torch.float64, generator=generator, requires_grad=True) for size in sizes]
    places, passes, before = [], [], 0
    for number, (rows, columns) in enumerate(sizes):
        for _ in range(2):
            places.append(before + padded_index(torch.arange(rows * columns), columns))
            of_map = coding_passes(top, left, rows, columns, torch.device("cpu")).flatten()
            passes.append(number * len(CODING_PASSES) + of_map)
            before += padded_size(rows, columns)
    offsets = context_offsets([columns for _, columns in sizes], torch.device("cpu"))
    sums = context_sums(concatenate_padded(maps), torch.cat(places), offsets, torch.cat(passes))
    found = torch.stack(sums)
    summed = [(*dense(each, top, left), *dense(each.abs(), top, left)) for each in maps]
    expected = torch.stack([torch.cat([each[kind].flatten() for each in summed]) for kind in (0, 2, 3)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weights = torch.randn(found.shape, dtype=torch.float64, generator=generator)
    gradients = [torch.autograd.grad((each * weights).sum(), maps) for each in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_gradients_by_differences() -> None:
    values = torch.randn(2, 6, 7, dtype=torch.float64, requires_grad=True)
    index = torch.cat([channel * padded_size(6, 7) + padded_index(torch.arange(42), 7) for channel in range(2)])
    passes = coding_passes(2, 5, 6, 7, torch.device("cpu")).flatten().repeat(2)
    offsets = context_offsets([7], torch.device("cpu"))
    assert torch.autograd.gradcheck(
        lambda cells: context_sums(concatenate_padded([cells]), index, offsets, passes), (values,)
    )


def test_a_window_knows_what_the_whole_grid_knows() -> None:
    """Where all neighbours lie in the window: the others are taken for zero."""
    values = torch.from_numpy(random_latent((1, 2, 40, 48)))[0].float()
    cut = values[:, 3:, 5:45]
    whole = gather_context(values, values.new_zeros(0, 2, 40, 48), torch.arange(40 * 48), 3)
    window = gather_context(cut, cut.new_zeros(0, 2, 37, 40), torch.arange(37 * 40), 3, 3, 5)
    for one, other in (
        (whole.magnitudes, window.magnitudes),
        (whole.means, window.means),
        (whole.coding_pass, window.coding_pass),
    ):
        one, other = one.unflatten(0, (2, 40, 48)), other.unflatten(0, (2, 37, 40))
        assert torch.equal(one[:, 15:28, 17:33], other[:, 12:25, 12:28])
    assert whole.channel.tolist() == [3] * 40 * 48 + [4] * 40 * 48


def context_of_group(group: Integers, first_channel: int) -> tuple[Tensor, ContextFeatures, list[tuple[int, ...]]]:
    """Every cell of every key, with what is known of it."""
    keys, channels, rows, columns = group.shape
    real = torch.from_numpy(group).float()
    values, known, where = [], [], []
    for key, before, behind in key_coding_order(keys):
        others = [] if before is None else [real[before], real[before if behind is None else behind]]
        beside = torch.stack(others) if others else real[:0]
        known.append(gather_context(real[key], beside, torch.arange(rows * columns), first_channel))
        values.append(real[key].flatten())
        where += [(key, *cell) for cell in np.ndindex(channels, rows, columns)]
    return torch.cat(values), ContextFeatures.join(known), where


def model_of(contexts: IntegerContextModel) -> ContextModel:
    """The real-valued network of an integer one."""
    model, step = ContextModel(len(contexts.scale_bias)), math.log(2) / SCALES_PER_OCTAVE
    with torch.no_grad():
        model.input_weight.copy_(torch.from_numpy(contexts.input_weight) / 16)
        model.pass_bias.copy_(torch.from_numpy(contexts.pass_bias) / 16)
        model.scale_weight.copy_(torch.from_numpy(contexts.scale_weight) / 16 * step)
        model.scale_bias.copy_((torch.from_numpy(contexts.scale_bias) / 16 - UNIT_SCALE) * step)
        model.mean_weight.copy_(torch.from_numpy(contexts.mean_weight) / FIXED_POINT_ONE_MEAN)
        model.temporal_mean_weight.copy_(torch.from_numpy(contexts.temporal_mean_weight) / FIXED_POINT_ONE_MEAN)
    return model


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [1, 300])
def test_both_networks_are_the_same(seed: int, scale: int) -> None:
    group, contexts = scale * smooth_latent((4, 2, 13, 26), seed), random_contexts(5, seed)
    model = model_of(contexts)
    assert np.array_equal(model.integers().parameters(), contexts.parameters())
    _, known, where = context_of_group(group, 2)
    with torch.no_grad():
        mean, log_scale = (each.numpy() for each in model(known))
    found = np.zeros_like(group, dtype=np.int64), np.zeros_like(group, dtype=np.int64)
    growing = np.zeros_like(group)
    for cells, centre, classes in exact._coding_passes(growing, contexts, 2):
        found[0][cells] = classes // FRACTIONS
        found[1][cells] = FRACTIONS * centre + classes % FRACTIONS - 4
        growing[cells] = group[cells]
    index = tuple(np.array(where).T)
    steps = log_scale / math.log(2) * SCALES_PER_OCTAVE + UNIT_SCALE
    scales, eighths = found[0][index], found[1][index]
    away = np.abs(scales - steps)
    assert away.max() < 0.55  # worst: 0.516, for logarithms are rounded to a 16th
    assert np.mean(away > 0.5) < 0.01  # worst: 0.6 % of the cells do not have the nearest scale
    assert np.abs(eighths - 8 * mean).max() <= 0.5 + 1e-6 * np.abs(eighths).max()  # the nearest mean, all of them


@pytest.mark.parametrize("kind", ["grid", "embedding"])
def test_estimated_bits_are_those_of_the_file(kind: str) -> None:
    if kind == "grid":
        groups = [smooth_latent((5, 2, 26, 52), seed) for seed in (0, 1)]
    else:  # 8 bits, spread over their range
        rng = np.random.default_rng(0)
        wide = rng.normal(100, 30, (4, 3, 8, 12))
        groups = [np.clip(np.rint(wide + rng.normal(0, 9, wide.shape)), 0, 255).astype(np.int32) for _ in range(2)]
    contexts = fitted_contexts(groups)
    model, bits = model_of(contexts), 0.0
    for group in groups:
        values, known, _ = context_of_group(group, 0)
        with torch.no_grad():
            bits += tailed_laplace_bits(values, *model(known)).sum().item()
    size = sum(len(write_latent(group, contexts, 0)) for group in groups)
    assert bits / 8 == pytest.approx(size, rel=0.01)  # measured: 0.2 %, 0.4 %
