"""The file as bytes and integers: headers, coded integers, random access, and what docs/bitstream.md says of them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import stranger
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec import inspect
from numpy.typing import NDArray

import nerv360
from nerv360.bitstream import container as layout
from nerv360.bitstream import entropy
from nerv360.bitstream.container import Container, write_container
from nerv360.bitstream.entropy import FrequencyTable
from nerv360.bitstream.header import Chunk, Colour, FileHeader, Grid, SegmentEntry, SegmentHeader, pack, unpack
from nerv360.bitstream.layout import Latent
from nerv360.codec.chunks import read_part, write_part, write_tables, write_weights
from nerv360.codec.network import load_network
from nerv360.codec.quantize import Scaling, dequantize_latent, quantize
from nerv360.config import ModelConfig
from nerv360.errors import BitstreamError
from nerv360.models.base import build, decoder_tensors

DOCUMENT = Path(__file__).parent.parent / "docs" / "bitstream.md"
WIDTH, HEIGHT, FRAMES, GROUP = 50, 26, 5, 2
CONFIG = ModelConfig(
    width=WIDTH,
    height=HEIGHT,
    channels=(4, 3, 3),
    encoder_strides=(4, 2),
    decoder_strides=(2, 2),
    kernels=(1, 3),
    embedding_channels=2,
    pe_frequencies=4,
)
GRID_CONFIG = ModelConfig(
    WIDTH,
    HEIGHT,
    (5, 4, 3),
    "nerv360-grid",
    decoder_strides=(3, 2),
    kernels=(1, 3),
    grids=(Latent(6, 2, 2), Latent(1, 1, 0), Latent(2, 3, 3), Latent(6, 1, 1)),
)
VIEW = nerv360.Viewport(yaw_deg=170, pitch_deg=70, width=21, height=10)
FILE_HEADER = FileHeader(WIDTH, HEIGHT, FRAMES, 30000, 1001, Colour(1, 1, 1, False), [SegmentEntry(FRAMES, 1, 1, 0)])

integers = arrays(np.int32, st.integers(0, 60), elements=st.integers(-3, 9) | st.integers(-1000, 1000))


def segment_header(config: ModelConfig = CONFIG) -> SegmentHeader:
    return SegmentHeader(
        model=config.model,
        channels=list(config.channels),
        encoder_strides=list(config.encoder_strides),
        decoder_strides=list(config.decoder_strides),
        kernels=list(config.kernels),
        embedding_channels=config.embedding_channels,
        expand_first=config.expand_first,
        last_block=config.last_block,
        conditions=list(config.conditions),
        pe_base=config.pe_base,
        pe_frequencies=config.pe_frequencies,
        view_width=20,
        view_height=12,
        hfov_deg=(78.1, 78.1),
        roll_deg=(0.0, 0.0),
        group_size=GROUP,
        grids=[Grid(grid.stride, grid.channels, grid.period) for grid in config.grids],
        oriented=False,
        chunks=[Chunk(0, 0)] * 3,
    )


def random_symbols(seed: int = 0) -> NDArray[np.int32]:
    """Embeddings [frames, d, rows, columns] as integers."""
    rng = np.random.default_rng(seed)
    shape = (FRAMES, CONFIG.embedding_channels, CONFIG.grid_height, CONFIG.grid_width)
    return np.clip(rng.normal(100, 30, shape), 0, 255).astype(np.int32)


def small_chunks(seed: int = 0) -> list[bytes]:
    torch.manual_seed(seed)
    tensors = decoder_tensors(build(CONFIG))
    symbols = random_symbols(seed)
    tables = [(Scaling(-0.5, 0.25 + i), FrequencyTable.of(symbols[:, i])) for i in range(symbols.shape[1])]
    groups = [symbols[first : first + GROUP] for first in range(0, FRAMES, GROUP)]
    weights = {name: quantize(tensor.numpy(), 8) for name, tensor in tensors.items()}
    return [write_weights(weights), write_tables(tables), *(write_part(group, tables) for group in groups)]


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


@pytest.mark.parametrize("data", [pack(FILE_HEADER)[:-1], pack(FILE_HEADER) + b"\0", b"", b"\x80", b"\x90"])
def test_other_headers_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        unpack(data, FileHeader)


@given(st.integers(0, 2**35 - 1), st.binary(max_size=3))
def test_varint(value: int, rest: bytes) -> None:
    data = entropy.write_varint(value)
    assert len(data) == max(1, -(-value.bit_length() // 7))
    assert entropy.read_varint(rest + data + rest, len(rest)) == (value, len(rest + data))


@given(integers)
def test_frequency_table(symbols: NDArray[np.int32]) -> None:
    table = FrequencyTable.of(symbols)
    assert sum(table.counts) == 2**16
    assert min(table.counts) >= 1
    if symbols.size:
        assert (table.lowest, table.lowest + len(table.counts) - 1) == (symbols.min(), symbols.max())
    data = table.write()
    assert FrequencyTable.read(b"?" + data + b"?", 1) == (table, 1 + len(data))


@pytest.mark.parametrize("lowest", [-(2**31), -2, -1, 0, 1, 2**31 - 1])
def test_frequency_table_with_any_lowest(lowest: int) -> None:
    table = FrequencyTable(lowest, (65536,))
    assert FrequencyTable.read(table.write(), 0)[0] == table


@pytest.mark.parametrize(
    "values",
    [
        (0, 0),
        (0, 1, 65535),
        (0, 2, 65536, 0),
        (0, 3, 65535, 1),
        (0, 2**30, 65536),
        (2**32, 1, 65536),
        (2 * (2**31 - 1), 2, 1, 65535),
    ],
    ids=["no symbol", "sum", "zero", "truncated", "too many", "lowest", "highest"],
)
def test_impossible_tables_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(BitstreamError):
        FrequencyTable.read(b"".join(map(entropy.write_varint, values)), 0)


@given(st.lists(integers, max_size=4))
def test_coded_integers(parts: list[NDArray[np.int32]]) -> None:
    tables = [FrequencyTable.of(part) for part in parts]
    data = entropy.encode(list(zip(parts, tables, strict=True)))
    counts = [part.size for part in parts]
    read = entropy.decode(data, list(zip(counts, tables, strict=True)))
    other = stranger.ans_decode(data, [(n, (t.lowest, list(t.counts))) for n, t in zip(counts, tables, strict=True)])
    assert [part.tolist() for part in read] == other == [part.tolist() for part in parts]


@pytest.mark.parametrize("count", [0, 1, 10**6])
def test_a_single_symbol_takes_no_bytes(count: int) -> None:
    symbols = np.full(count, -7, dtype=np.int32)
    table = FrequencyTable(-7, (65536,))
    assert entropy.encode([(symbols, table)]) == b""
    assert np.array_equal(entropy.decode(b"", [(count, table)])[0], symbols)


@given(st.lists(st.integers(0, 3) | st.integers(0, 2**32 - 1), max_size=4), st.integers(0, 40))
def test_both_decoders_refuse_the_same_streams(words: list[int], count: int) -> None:
    data = np.array(words, dtype="<u4").tobytes()

    def result(decode: Callable[[], Any]) -> list[int] | None:
        try:
            return list(decode()[0])
        except (BitstreamError, AssertionError):
            return None

    ours = result(lambda: entropy.decode(data, [(count, FrequencyTable(0, (65000, 500, 36)))]))
    assert ours == result(lambda: stranger.ans_decode(data, [(count, (0, [65000, 500, 36]))]))


@given(integers.filter(lambda symbols: symbols.size > 1))
@settings(max_examples=30, deadline=None)
def test_size_is_near_the_entropy(symbols: NDArray[np.int32]) -> None:
    table = FrequencyTable.of(symbols)
    bits = sum(16 - math.log2(table.counts[s - table.lowest]) for s in symbols.tolist())
    assert 8 * len(entropy.encode([(symbols, table)])) <= bits * 1.001 + 64


def test_a_stranger_reads_the_same(path: Path) -> None:
    header, (theirs,) = stranger.read_file(path.read_bytes())
    assert header[:5] == [WIDTH, HEIGHT, FRAMES, 30000, 1001]
    assert np.array_equal(theirs.symbols_of[0], random_symbols())
    with Container(path) as container:
        network = load_network(container, container.segments[0], torch.device("cpu"))
    ours = {name: tensor.numpy() for name, tensor in decoder_tensors(network.model).items()}
    assert list(theirs.weights) == list(ours)
    for name, tensor in ours.items():
        assert theirs.weights[name].shape == tensor.shape
        np.testing.assert_allclose(theirs.weights[name], tensor, rtol=1e-6)  # two libraries' 2^x
    for channel, (scaling, _) in enumerate(network.tables[0]):
        expected = dequantize_latent(random_symbols()[:, channel], scaling)
        assert np.array_equal(theirs.latents[0][:, channel], expected)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        ModelConfig(96, 48, (7, 6, 5, 5, 4), conditions=("fov",)),
        ModelConfig(96, 48, (7, 6, 5, 5, 4), last_block="half"),
        ModelConfig(96, 48, (7, 6, 5, 5, 4), last_block="none"),
        ModelConfig(9, 9, (2, 1), "nerv360", (5,), (3,), (5,)),
        ModelConfig(96, 48, (7, 6, 5, 5, 4), "hnerv", kernels=(1, 3, 5, 5)),
        ModelConfig(96, 48, (7, 6, 5, 5, 4), "hnerv-boost", conditions=()),
        GRID_CONFIG,
    ],
)
def test_a_stranger_knows_the_tensors(config: ModelConfig) -> None:
    with torch.device("meta"):
        tensors = decoder_tensors(build(config))
    shapes = stranger.tensor_shapes(msgspec.msgpack.decode(pack(segment_header(config))))
    assert list(shapes.items()) == [(name, tuple(tensor.shape)) for name, tensor in tensors.items()]


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
            tables = load_network(container, segment, torch.device("cpu")).tables[0]
            group = read_part(chunks[-1], tables, 1, CONFIG.grid_height, CONFIG.grid_width)
            assert group.shape == (1, 2, 4, 8)
    _, segments = stranger.read_file((tmp_path / "two").read_bytes())
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


@pytest.mark.parametrize("kind", [FileHeader, SegmentEntry, Colour, SegmentHeader, Grid, Chunk])
def test_the_document_has_every_field(kind: type[msgspec.Struct]) -> None:
    section = DOCUMENT.read_text().split(f"\n### {kind.__name__}\n")[1].split("\n#")[0]
    assert [line for line in section.splitlines() if line.startswith("| ")][1:] == header_rows(kind)


def test_the_document_has_the_constants() -> None:
    text = DOCUMENT.read_text()
    magic = " ".join(f"{byte:02x}" for byte in layout.MAGIC)
    for fact in (magic, f"| {layout.VERSION} |", f"{layout.MAX_HEADER}", f"{layout.PREAMBLE.size} bytes"):
        assert fact in text


def header_rows(kind: type[msgspec.Struct]) -> list[str]:
    """The document's table of a header class, from its annotations."""
    rows = []
    for index, field in enumerate(inspect.type_info(kind).fields):  # type: ignore[attr-defined]
        meta = field.type
        assert isinstance(meta, inspect.Metadata)
        assert meta.extra_json_schema is not None
        name, limits = _cells(meta.type)
        rows.append(f"| {index} | `{field.name}` | {name} | {limits} | {meta.extra_json_schema['description']} |")
    return rows


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
        case inspect.TupleType():
            return f"array of {len(kind.item_types)} {_cells(kind.item_types[0])[0]}s", ""
        case inspect.ListType():
            name, limits = _cells(kind.item_type)
            length = f"{kind.min_length or 0}..{kind.max_length} items"
            return (
                f"array of {name}{'' if name[0].isupper() else 's'}",
                f"{length}, each {limits}" if limits else length,
            )
    raise AssertionError(kind)
