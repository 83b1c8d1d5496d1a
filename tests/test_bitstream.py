"""The file as bytes and integers: headers, coded integers, random access, and what docs/bitstream.md says of them."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import reference_decoder
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect
from numpy.typing import NDArray

import nerv360
from nerv360.bitstream import container as layout
from nerv360.bitstream.container import Container, write_container
from nerv360.bitstream.header import (
    Chunk,
    FileHeader,
    FrameTimes,
    MotionHeader,
    SegmentEntry,
    SegmentHeader,
    SoundTrack,
    pack,
    unpack,
)
from nerv360.bitstream.latent_tables import write_tables
from nerv360.bitstream.weights import quantize, write_weights
from nerv360.codec.load_network import load_network
from nerv360.config import EncodingConfig
from nerv360.entropy.laplace import FRACTIONS, MAX_SYMBOL, SCALES, best_scale, frequencies, model_index
from nerv360.entropy.range_coder import (
    MAX_ABS_VALUE,
    MAX_ESCAPE,
    SymbolDecoder,
    SymbolEncoder,
    read_varint,
    write_varint,
)
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.latents.coding_order import CODING_PASSES
from nerv360.latents.grid import LatentGrid
from nerv360.latents.integer_context_model import PARAMETER_MODEL, IntegerContextModel, read_latent, write_latent
from nerv360.latents.quantization import ChannelQuantizer, dequantize_latent
from nerv360.models.build import build, decoder_tensors
from nerv360.models.network_config import NetworkConfig
from nerv360.types import BT709, Colour

KINDS = [FileHeader, SegmentEntry, SoundTrack, FrameTimes, Colour, SegmentHeader, LatentGrid, MotionHeader, Chunk]
DOCUMENT = Path(__file__).parent.parent / "docs" / "bitstream.md"
WIDTH, HEIGHT, FRAMES, GROUP = 50, 26, 5, 2
CONFIG = NetworkConfig(
    width=WIDTH,
    height=HEIGHT,
    channels=(4, 3, 3),
    encoder_strides=(4, 2),
    decoder_strides=(2, 2),
    kernels=(1, 3),
    embedding_channels=2,
    pe_frequencies=4,
)
GRID_CONFIG = NetworkConfig(
    WIDTH,
    HEIGHT,
    (5, 4, 3),
    "nerv360-grid",
    decoder_strides=(3, 2),
    kernels=(1, 3),
    grids=(LatentGrid(6, 2, 2), LatentGrid(1, 1, 0), LatentGrid(2, 3, 3), LatentGrid(6, 1, 1)),
)
VIEW = nerv360.Viewport(yaw_deg=170, pitch_deg=70, width=21, height=10)
FILE_HEADER = FileHeader(WIDTH, HEIGHT, FRAMES, 30000, 1001, BT709, [SegmentEntry(FRAMES, 1, 1, 0)])

FARTHEST = MAX_SYMBOL + MAX_ESCAPE
classes = st.integers(0, FRACTIONS * SCALES - 1)
coded = st.tuples(st.integers(-3, 9) | st.integers(-300, 300) | st.integers(-FARTHEST, FARTHEST), classes)
pieces = st.lists(st.lists(coded, max_size=40), max_size=4)


def segment_header(config: NetworkConfig = CONFIG) -> SegmentHeader:
    view = {"view_width": 20, "view_height": 12, "hfov_deg": (78.1, 78.1), "roll_deg": (0.0, 0.0)}
    header = SegmentHeader.of_network(config, **view, oriented=False)
    return msgspec.structs.replace(header, group_size=GROUP, chunks=[Chunk(0, 0)] * 3)


def random_symbols(seed: int = 0) -> NDArray[np.int32]:
    """Embeddings [frames, d, rows, columns] as integers."""
    rng = np.random.default_rng(seed)
    shape = (FRAMES, CONFIG.embedding_channels, CONFIG.grid_height, CONFIG.grid_width)
    return np.clip(rng.normal(100, 30, shape), 0, 255).astype(np.int32)


def random_contexts(channels: int, seed: int = 0) -> IntegerContextModel:
    """A network whose scales and means are of all sizes."""
    rng = np.random.default_rng(seed)
    sizes = [32, 80, 8, channels, channels + 2]
    deviations = np.repeat([5, 8, 8, 60, 80], sizes)
    middles = np.repeat([0, 0, 0, 300, 96], sizes)
    return IntegerContextModel.of(np.rint(rng.normal(middles, deviations)).astype(np.int32), channels)


def small_chunks(seed: int = 0, contexts: IntegerContextModel | None = None) -> list[bytes]:
    torch.manual_seed(seed)
    tensors = decoder_tensors(build(CONFIG))
    symbols = random_symbols(seed)
    quantizers = [ChannelQuantizer(-0.5, 0.25 + channel) for channel in range(symbols.shape[1])]
    contexts = contexts or random_contexts(symbols.shape[1], seed)
    groups = [symbols[first : first + GROUP] for first in range(0, FRAMES, GROUP)]
    weights = {name: quantize(tensor.numpy(), 8) for name, tensor in tensors.items()}
    parts = [write_latent(group, contexts, 0) for group in groups]
    return [write_weights(weights), write_tables(quantizers, contexts), *parts]


def small_file(seed: int = 0) -> bytes:
    """A valid file of one segment with random weights and embeddings."""
    return write_container(FILE_HEADER, iter([(segment_header(), small_chunks(seed))]))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bitstream") / "small.nerv360"
    path.write_bytes(small_file())
    return path


@pytest.mark.parametrize(
    "header", [FILE_HEADER, segment_header(), Colour(9, 16, 9, True), Chunk(2**31, 2**32 - 1)], ids=lambda h: type(h)
)
def test_headers_survive(header: msgspec.Struct) -> None:
    assert unpack(pack(header), type(header)) == header
    assert isinstance(msgspec.msgpack.decode(pack(header)), list)


def test_values_that_may_be_missing() -> None:
    for config in (CONFIG, GRID_CONFIG):
        whole = segment_header(config)
        short = msgspec.msgpack.decode(pack(whole))[:18]
        short[15] = [grid[:3] for grid in short[15]]
        packed = msgspec.msgpack.encode(short)
        assert unpack(packed, SegmentHeader) == whole
        expected = reference_decoder.tensor_shapes(msgspec.msgpack.decode(pack(whole)))
        assert reference_decoder.tensor_shapes(reference_decoder.with_defaults(short)) == expected


@pytest.mark.parametrize("data", [pack(FILE_HEADER)[:-1], pack(FILE_HEADER) + b"\0", b"", b"\x80", b"\x90"])
def test_other_headers_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        unpack(data, FileHeader)


@given(st.integers(0, 2**35 - 1), st.binary(max_size=3))
def test_varint(value: int, rest: bytes) -> None:
    data = write_varint(value)
    assert len(data) == max(1, -(-value.bit_length() // 7))
    assert read_varint(rest + data + rest, len(rest)) == (value, len(rest + data))


@pytest.mark.parametrize("scale", range(SCALES))
def test_classes_are_laplace_distributions_with_wide_tails(scale: int) -> None:
    parts = [(31 / 32, 2 ** ((scale - 18) / 4)), (1 / 32, 2 ** (((min(scale + 8, 39) if scale else 0) - 18) / 4))]
    edges = np.arange(-MAX_SYMBOL, MAX_SYMBOL) + 0.5
    for fraction in range(FRACTIONS):
        table = frequencies(model_index(scale, fraction))
        assert table.shape == (2 * MAX_SYMBOL + 1,)
        assert table.sum() == 2**24
        assert table.min() >= 1
        assert table.tolist() == reference_decoder.counts_of(model_index(scale, fraction))
        away = edges - (fraction - 4) / 8
        tails = sum(part * np.exp(-abs(away) / width) / 2 for part, width in parts)
        mass = np.diff(np.where(away < 0, tails, 1 - tails), prepend=0, append=1)
        assert np.abs(table / 2**24 - mass).max() < 1e-4  # worst: 3.1e-5, which keeps every count at 1 or more


def test_the_decays_are_exponentials() -> None:
    for scale, decay in enumerate(reference_decoder.DECAYS):
        assert decay == round(2**32 * math.exp(-1 / (8 * 2 ** ((scale - 18) / 4))))


@given(st.integers(0, SCALES - 1))
def test_the_best_scale_is_that_of_the_symbols(scale: int) -> None:
    table = frequencies(model_index(scale))
    symbols = np.repeat(np.arange(-MAX_SYMBOL, MAX_SYMBOL + 1), np.rint(table / 2**8).astype(int))
    assert best_scale(symbols.astype(np.int32)) == scale


def written(parts: list[list[tuple[int, int]]]) -> bytes:
    encoder = SymbolEncoder()
    for part in parts:
        integers, chosen = np.array(part, dtype=np.int32).reshape(-1, 2).T
        encoder.encode(integers, chosen.astype(np.int64))
    return encoder.finish()


def read(data: bytes, parts: list[list[int]]) -> list[list[int]]:
    decoder = SymbolDecoder(data, sum(map(len, parts)))
    found = [decoder.decode(np.array(part, dtype=np.int64)).tolist() for part in parts]
    decoder.finish()
    return found


def read_by_a_stranger(data: bytes, parts: list[list[int]]) -> list[list[int]]:
    stream = reference_decoder.Stream(data)
    found = [stream.piece(part) for part in parts]
    stream.end()
    return found


@given(pieces)
@settings(deadline=None)
def test_coded_integers(parts: list[list[tuple[int, int]]]) -> None:
    chosen = [[number for _, number in part] for part in parts]
    data = written(parts)
    assert read(data, chosen) == read_by_a_stranger(data, chosen) == [[value for value, _ in part] for part in parts]


@pytest.mark.parametrize("count", [0, 1, 10**6])
def test_certain_integers_take_few_bytes(count: int) -> None:
    symbols, chosen = np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int64) + model_index(0)
    encoder = SymbolEncoder()
    encoder.encode(symbols, chosen)
    data = encoder.finish()
    assert len(data) <= 9 + count // 10**5
    assert not SymbolDecoder(data, count).decode(chosen).any()


@given(
    st.lists(st.integers(0, 3) | st.integers(0, 2**21), max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(0, 3) | st.integers(0, 2**32 - 1), max_size=4),
    st.lists(classes, max_size=40),
    st.integers(0, 2),
)
@settings(deadline=None)
def test_both_decoders_refuse_the_same_streams(
    excesses: list[int], odd: bytes, words: list[int], chosen: list[int], more: int
) -> None:
    """Random ones are refused; those with the right number of excesses not always."""
    head = b"".join(map(write_varint, (len(excesses) + more % 2, *excesses)))
    data = head + (odd if more == 2 else b"") + np.array(words, dtype="<u4").tobytes()

    def result(decode: Callable[[bytes, list[list[int]]], Any]) -> Any:
        try:
            return decode(data, [chosen])
        except (BitstreamError, reference_decoder.Refusal):
            return None

    assert result(read) == result(read_by_a_stranger)


@given(pieces.filter(lambda parts: sum(map(len, parts)) > 0), st.data())
@settings(max_examples=50, deadline=None)
def test_cut_extended_and_damaged_streams(parts: list[list[tuple[int, int]]], draw: st.DataObject) -> None:
    """Refused, or taken for other integers; nothing else."""
    data, chosen = written(parts), [[number for _, number in part] for part in parts]
    place = draw.draw(st.integers(0, len(data) - 1))
    with pytest.raises(BitstreamError):
        read(data + b"\1" * draw.draw(st.integers(1, 9)), chosen)
    for other in (
        data[:place],
        data[:place] + bytes([data[place] ^ draw.draw(st.integers(1, 255))]) + data[place + 1 :],
    ):
        try:
            assert max((abs(value) for part in read(other, chosen) for value in part), default=0) <= FARTHEST
        except BitstreamError:
            continue


def test_excesses_too_many_or_too_large_are_refused() -> None:
    number = model_index(20)
    assert read(written([[(FARTHEST, number)]]), [[number]]) == [[FARTHEST]]
    with pytest.raises(BitstreamError, match="impossible"):
        read(written([[(FARTHEST + 1, number)]]), [[number]])
    for claimed in (2, 2**20, 2**34):
        with pytest.raises(BitstreamError):
            read(write_varint(claimed) + b"\0" * 100, [[number]])
    for head in (b"\xff" * 5, b"\xff" * 4, b"\2\0"):
        with pytest.raises(BitstreamError):
            read(head, [[number] * 2])
    assert read(b"\2\0\1", [[number] * 2]) == [[-255, -256]]  # a stream without words


@given(pieces)
@settings(max_examples=50, deadline=None)
def test_size_is_near_the_entropy(parts: list[list[tuple[int, int]]]) -> None:
    values = [pair for part in parts for pair in part]
    bits = sum(
        24 - math.log2(frequencies(n)[min(MAX_SYMBOL, max(-MAX_SYMBOL, value)) + MAX_SYMBOL]) for value, n in values
    )
    beyond = [abs(value) - MAX_SYMBOL for value, _ in values if abs(value) >= MAX_SYMBOL]
    head = sum(len(write_varint(value)) for value in (len(beyond), *beyond))
    assert 8 * (len(written(parts)) - head) <= bits * 1.001 + 64


def test_a_stranger_reads_the_same(path: Path) -> None:
    header, (theirs,) = reference_decoder.read_file(path.read_bytes())
    assert header[:5] == [WIDTH, HEIGHT, FRAMES, 30000, 1001]
    assert np.array_equal(theirs.symbols_of[0], random_symbols())
    with Container(path) as container:
        network = load_network(container, container.segments[0], torch.device("cpu"))
    ours = {name: tensor.numpy() for name, tensor in decoder_tensors(network.network).items()}
    assert list(theirs.weights) == list(ours)
    for name, tensor in ours.items():
        assert theirs.weights[name].shape == tensor.shape
        np.testing.assert_allclose(theirs.weights[name], tensor, rtol=1e-6)  # two libraries' 2^x
    assert [n for each in theirs.contexts.values() for n in each] == network.context_model.parameters().tolist()
    for channel, scaling in enumerate(network.quantizers[0]):
        expected = dequantize_latent(random_symbols()[:, channel], scaling)
        assert np.array_equal(theirs.latents[0][:, channel], expected)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        NetworkConfig(96, 48, (7, 6, 5, 5, 4), conditions=("fov",)),
        NetworkConfig(96, 48, (7, 6, 5, 5, 4), last_block="half"),
        NetworkConfig(96, 48, (7, 6, 5, 5, 4), last_block="none"),
        NetworkConfig(9, 9, (2, 1), "nerv360", (5,), (3,), (5,)),
        NetworkConfig(96, 48, (7, 6, 5, 5, 4), "hnerv", kernels=(1, 3, 5, 5)),
        NetworkConfig(96, 48, (7, 6, 5, 5, 4), "hnerv-boost", conditions=()),
        NetworkConfig(96, 48, (7, 6, 5, 5, 4), "hnerv-boost", conditions=(), late_blocks=2),
        GRID_CONFIG,
        replace(GRID_CONFIG, grids=(*GRID_CONFIG.grids, LatentGrid(6, 4, 3, motion=True))),
    ],
)
def test_a_stranger_knows_the_tensors(config: NetworkConfig) -> None:
    with torch.device("meta"):
        tensors = decoder_tensors(build(config))
    shapes = reference_decoder.tensor_shapes(msgspec.msgpack.decode(pack(segment_header(config))))
    assert list(shapes.items()) == [(name, tuple(tensor.shape)) for name, tensor in tensors.items()]


@pytest.mark.parametrize(
    "wrong",
    [
        [LatentGrid(2, 4, 3, True)],
        [LatentGrid(6, 2, 3, True)],
        [LatentGrid(6, 4, 0, True)],
        2 * [LatentGrid(6, 4, 3, True)],
    ],
)
def test_motions_that_cannot_be(wrong: list[LatentGrid]) -> None:
    grids = (*GRID_CONFIG.grids, *wrong)
    rule = "motion is one grid of stride 6, of four channels, with a key interval"
    with pytest.raises(ValueError, match=rule):
        segment_header(replace(GRID_CONFIG, grids=grids))
    with pytest.raises(ArgumentError, match=rule):
        EncodingConfig.of(model="nerv360-grid", decoder_strides=GRID_CONFIG.decoder_strides, grids=grids)


def test_budget_sums_to_the_file(path: Path) -> None:
    with Container(path) as container:
        assert sum(container.budget().values()) == path.stat().st_size == container.size
        chunks = container.segments[0].header.chunks
        assert container.budget()["weights"] == chunks[0].length
        assert all(size > 0 for size in container.budget().values())


def test_two_segments(tmp_path: Path) -> None:
    header = msgspec.structs.replace(FILE_HEADER, frames=2 * FRAMES, segments=FILE_HEADER.segments * 2)
    parts = [(segment_header(), small_chunks(seed)) for seed in (0, 1)]
    (tmp_path / "two").write_bytes(write_container(header, iter(parts)))
    with Container(tmp_path / "two") as container:
        container.verify()
        assert [segment.first_frame for segment in container.segments] == [0, FRAMES]
        assert container.segment_of(FRAMES - 1) is container.segments[0]
        assert container.segment_of(FRAMES) is container.segments[1]
        for segment, (_, chunks) in zip(container.segments, parts, strict=True):
            assert [container.chunk(segment, i) for i in range(len(chunks))] == chunks
            contexts = load_network(container, segment, torch.device("cpu")).context_model
            group = read_latent(chunks[-1], contexts, 0, (1, 2, CONFIG.grid_height, CONFIG.grid_width))
            assert group.shape == (1, 2, 4, 8)
    _, segments = reference_decoder.read_file((tmp_path / "two").read_bytes())
    assert np.array_equal(segments[1].symbols_of[0], random_symbols(1))


def test_only_the_group_of_the_frame_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    chunk = Container.chunk
    monkeypatch.setattr(Container, "chunk", lambda self, at, index: read.append(index) or chunk(self, at, index))
    with nerv360.open(path) as decoder:
        assert read == []
        decoder.viewport(2, VIEW)
        assert read == [0, 1, 2 + 2 // GROUP]
        decoder.viewport(3, VIEW)  # the last of its group: the next group is read in the background
        decoder.viewport(4, VIEW)
        assert read == [0, 1, 3, 4]


def test_random_access_changes_nothing(path: Path) -> None:
    with nerv360.open(path) as forwards, nerv360.open(path) as backwards:
        pictures = [forwards.viewport(index, VIEW) for index in range(FRAMES)]
        for index in reversed(range(FRAMES)):
            assert np.array_equal(backwards.viewport(index, VIEW), pictures[index])
        assert not np.array_equal(pictures[0], pictures[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_document_has_every_field(kind: type[msgspec.Struct]) -> None:
    section = DOCUMENT.read_text().split(f"\n### {kind.__name__}\n")[1].split("\n#")[0]
    assert "\n".join(header_lines(kind)) in section.strip().split("\n\n")


def test_the_document_has_the_constants() -> None:
    text = DOCUMENT.read_text()
    magic = " ".join(f"{byte:02x}" for byte in layout.MAGIC)
    for fact in (
        magic,
        "{}, {}, {}, {} or {};".format(*layout.VERSIONS),
        f"{layout.MAX_HEADER}",
        f"{layout.PREAMBLE.size} bytes",
    ):
        assert fact in text
    for fact in (
        f"0..{SCALES - 1}",
        f"n_{MAX_SYMBOL}",
        f"-{MAX_ABS_VALUE}..{MAX_ABS_VALUE}",
        f"class {PARAMETER_MODEL},",
    ):
        assert fact in text
    assert MAX_ESCAPE == 2**20
    assert "at most 2^20" in text
    assert f"D_0 = {reference_decoder.DECAYS[0]}, D_39 = {reference_decoder.DECAYS[39]}" in text
    for number, place in enumerate(CODING_PASSES):
        assert reference_decoder.coding_passes()[number][:3] == (place.row, place.column, place.spacing)
        assert [sorted(each) for each in (place.near, place.far)] == [
            sorted(each) for each in reference_decoder.coding_passes()[number][3:]
        ]


def header_lines(kind: type[msgspec.Struct]) -> list[str]:
    """The document's list of the fields of a header class, from its annotations."""
    lines = []
    for field in inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        meta = field.type
        assert isinstance(meta, inspect.Metadata)
        assert meta.extra_json_schema is not None
        values = ", ".join(filter(None, _cells(meta.type)))
        lines.append(f"- `{field.name}`, {values}: {meta.extra_json_schema['description']}")
    return lines


def _cells(kind: inspect.Type) -> tuple[str, str]:
    """Type and range in words."""
    match kind:
        case inspect.IntType() | inspect.FloatType():
            name = "integer" if isinstance(kind, inspect.IntType) else "float"
            return (
                name,
                "" if kind.ge is None else f"{kind.ge:g}..{kind.le:g}" if name == "float" else f"{kind.ge}..{kind.le}",
            )
        case inspect.BoolType():
            return "boolean", ""
        case inspect.StrType():
            if kind.max_length:
                return "string", f"at most {kind.max_length} characters"
            *most, last = str(kind.pattern).removeprefix("^(").removesuffix(r")\Z").split("|")
            return "string", f"{', '.join(most)} or {last}"
        case inspect.StructType():
            return kind.cls.__name__, ""
        case inspect.UnionType():
            return _cells(kind.types[0])
        case inspect.LiteralType():
            return "string", " or ".join(sorted(map(str, kind.values)))
        case inspect.BytesType():
            return "bytes", f"{kind.min_length}..{kind.max_length}"
        case inspect.TupleType():
            return f"array of {len(kind.item_types)} {_cells(kind.item_types[0])[0]}s", ""
        case inspect.ListType() | inspect.VarTupleType():
            name, limits = _cells(kind.item_type)
            length = f"{kind.min_length or 0}..{kind.max_length} items"
            many = name if name[0].isupper() else name.replace("array", "arrays") if " " in name else f"{name}s"
            return f"array of {many}", f"{length}, each {limits}" if limits else length
    raise AssertionError(kind)
