"""Files made to do harm. Each is refused with the package's own error and little work, checksums right or wrong."""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import pytest
from helpers.limits import at_most_bytes, at_most_lines
from test_bitstream import CONFIG, FILE_HEADER, VIEW, segment_header, small_chunks, small_file

import nerv360
from nerv360.backends.tiling import check_size
from nerv360.bitstream.container import MAGIC, OLDEST_VERSION, PREAMBLE, VERSION, Container
from nerv360.bitstream.header import FileHeader, SegmentHeader, pack
from nerv360.bitstream.latent_tables import write_tables
from nerv360.codec.load_network import MAX_LATENT_VALUES, latent_values
from nerv360.config import preset_for
from nerv360.entropy.laplace import MAX_SYMBOL
from nerv360.entropy.range_coder import MAX_ESCAPE, read_varint, write_varint
from nerv360.errors import ArgumentError, BitstreamError, VersionError
from nerv360.latents.grid import LatentGrid
from nerv360.latents.integer_context_model import IntegerContextModel
from nerv360.latents.quantization import ChannelQuantizer
from nerv360.models.build import build, decoder_tensors
from nerv360.models.network_config import NetworkConfig
from nerv360.training.configure import configure

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")


@pytest.fixture(scope="module")
def valid() -> bytes:
    return small_file()


@pytest.fixture(scope="module")
def chunks() -> list[bytes]:
    return small_chunks()


@pytest.fixture(scope="module")
def loaded(valid: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that a first view loads, before anything is counted."""
    path = tmp_path_factory.mktemp("valid") / "valid.nerv360"
    path.write_bytes(valid)
    view(path)


@pytest.fixture
def refused(tmp_path: Path, loaded: None) -> Callable[..., None]:
    """Asserts that a file is refused: on opening and reading all of it, or in decoding a view of its first frame."""

    def check(data: bytes, error: type[BitstreamError] = BitstreamError) -> None:
        path = tmp_path / "hostile.nerv360"
        path.write_bytes(data)
        with bounded(), pytest.raises(error):
            verify(path)
            view(path)

    return check


@contextmanager
def bounded() -> Iterator[None]:
    """Little work and little memory."""
    with at_most_lines(200_000), at_most_bytes(100 << 20):  # the most is 100 116 and 10 MB; mostly 7 000 and none
        yield


def verify(path: Path) -> None:
    with Container(path) as container:
        container.verify()


def view(path: Path) -> None:
    with nerv360.open(path) as decoder:
        decoder.viewport(0, VIEW)


def preamble(header: bytes, version: int = OLDEST_VERSION, length: int | None = None) -> bytes:
    return PREAMBLE.pack(MAGIC, version, len(header) if length is None else length, crc32(header)) + header


def fields(kind: type[msgspec.Struct], header: msgspec.Struct, changes: dict[str, Any]) -> list[Any]:
    """A header as a list with some fields changed, to whatever."""
    values = msgspec.msgpack.decode(pack(header))
    for name, value in changes.items():
        values[kind.__struct_fields__.index(name)] = value
    return values


def forge(
    chunks: Sequence[bytes],
    file: dict[str, Any] | None = None,
    segment: dict[str, Any] | bytes | None = None,
) -> bytes:
    """A file with right lengths and checksums, but with these fields in its headers (or this segment header)."""
    if not isinstance(segment, bytes):
        table = {"chunks": [[len(chunk), crc32(chunk)] for chunk in chunks]}
        segment = msgspec.msgpack.encode(fields(SegmentHeader, segment_header(), {**table, **(segment or {})}))
    body = segment + b"".join(chunks)
    claims = {"frames": FILE_HEADER.frames, **(file or {})}
    entry = [claims["frames"], len(body), len(segment), crc32(segment)]
    header = msgspec.msgpack.encode(fields(FileHeader, FILE_HEADER, {"segments": [entry], **claims}))
    return preamble(header) + body


def test_the_forge_makes_valid_files(valid: bytes, chunks: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "valid.nerv360"
    path.write_bytes(valid)
    verify(path)
    view(path)
    assert forge(chunks) == valid


def test_more_than_a_little_is_noticed(valid: bytes, loaded: None, tmp_path: Path) -> None:
    path = tmp_path / "valid.nerv360"
    path.write_bytes(valid)
    with pytest.raises(AssertionError, match="lines ran"), bounded():
        for _ in range(100):
            view(path)
    with pytest.raises(MemoryError), bounded():
        bytes(150 << 20)


def test_truncated(valid: bytes, refused: Callable[..., None]) -> None:
    for length in {*range(0, len(valid), 211), *range(0, 200, 3), len(valid) - 1}:
        refused(valid[:length])


def test_flipped(valid: bytes, refused: Callable[..., None]) -> None:
    rng = random.Random(0)
    for position in {*range(18), *rng.sample(range(len(valid)), 200)}:
        data = bytearray(valid)
        data[position] ^= rng.randrange(1, 256)
        refused(bytes(data))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89", MAGIC, PNG, bytes(1000), random.Random(1).randbytes(5000), MAGIC + b"\xff" * 1000],
    ids=["empty", "byte", "magic", "png", "zeros", "random", "ones"],
)
def test_foreign(data: bytes, refused: Callable[..., None]) -> None:
    refused(data)


def test_not_a_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BitstreamError):
            Container(path)


@pytest.mark.parametrize("version", [VERSION + 1, 65535])
def test_newer(valid: bytes, version: int, refused: Callable[..., None]) -> None:
    refused(valid[:8] + struct.pack("<H", version) + valid[10:], VersionError)
    refused(valid[:8] + struct.pack("<H", version), BitstreamError)


@pytest.mark.parametrize("version", [1, 6])
def test_versions_of_before_the_first_release(
    version: int, valid: bytes, refused: Callable[..., None], tmp_path: Path
) -> None:
    """In a plain line, whatever lies behind."""
    for rest in (valid[10:], bytes(8), valid[10:200]):
        refused(valid[:8] + struct.pack("<H", version) + rest, VersionError)
    with pytest.raises(VersionError, match=rf"hostile.nerv360: format version {version}, .*; encode again") as caught:
        nerv360.open(tmp_path / "hostile.nerv360")
    assert "\n" not in str(caught.value)


def test_version_zero(valid: bytes, refused: Callable[..., None]) -> None:
    refused(valid[:8] + bytes(2) + valid[10:])


def test_trailing(valid: bytes, refused: Callable[..., None]) -> None:
    refused(valid + b"\0")
    refused(valid + valid)


@pytest.mark.parametrize("length", [0, 1, 2**26, 2**32 - 1])
def test_header_length(valid: bytes, length: int, refused: Callable[..., None]) -> None:
    refused(PREAMBLE.pack(MAGIC, VERSION, length, 0) + valid[PREAMBLE.size :])


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 10**9},
        {"frames": 10**7},
        {"frames": 0},
        {"frames": -1},
        {"frames": 4},
        {"width": 10**9},
        {"width": 16384},
        {"width": 0},
        {"width": 2.5},
        {"width": None},
        {"rate_denominator": 0},
        {"colour": []},
        {"segments": []},
        {"segments": [[5, 2**40, 100, 0]]},
        {"segments": [[5, 1, 2**26, 0]]},
        {"segments": [[5, 10, 10, 0]] * 10**5},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_file_header(chunks: list[bytes], changes: dict[str, Any], refused: Callable[..., None]) -> None:
    refused(forge(chunks, file=changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "other"},
        {"model": "x" * 10**6},
        {"channels": [10**9, 3, 3]},
        {"channels": [4096, 4096, 4096]},
        {"channels": [4, 3]},
        {"channels": []},
        {"encoder_strides": [1]},
        {"encoder_strides": [10**9]},
        {"encoder_strides": [0, 2]},
        {"decoder_strides": [2, 0]},
        {"decoder_strides": [16, 16]},
        {"kernels": [1, 2]},
        {"kernels": [1]},
        {"embedding_channels": 256},
        {"embedding_channels": 1},
        {"conditions": ["yaw", "yaw"]},
        {"conditions": ["time"]},
        {"conditions": ["yaw\n", "pitch"]},
        {"conditions": []},
        {"pe_base": float("nan")},
        {"pe_base": float("inf")},
        {"pe_frequencies": 3},
        {"view_width": 0},
        {"hfov_deg": [float("nan"), 78.1]},
        {"hfov_deg": [78.1, float("nan")]},
        {"hfov_deg": [80.0, 70.0]},
        {"hfov_deg": [1.0, 180.0]},
        {"roll_deg": [float("nan"), float("nan")]},
        {"roll_deg": [float("-inf"), float("inf")]},
        {"grids": [[8, 1, 1, False]]},
        {"grids": [[0, 1, 1, False]]},
        {"grids": [[2**40, 1, 1, False]]},
        {"grids": [[8, 10**9, 1, False]]},
        {"grids": [[8, 1]]},
        {"grids": [[8, 1, 1, False]] * 10**5},
        {"model": "nerv360-grid"},
        {"model": "nerv360-grid", "grids": [[3, 1, 1, False]]},
        {"model": "nerv360-grid", "grids": [[4, 2, 1, False]]},
        {"model": "hnerv"},
        {"model": "hnerv", "decoder_strides": [4, 2]},
        {"model": "hnerv-boost", "encoder_strides": [2, 2]},
        {"oriented": True},
        {"oriented": 2},
        {"group_size": 0},
        {"group_size": 1},
        {"group_size": 64},
        {"group_size": 2**70 % 2**64},
        {"chunks": []},
        {"chunks": [[2**31, 0]] * 5},
        {"chunks": [[0, 0]] * 10**5},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_segment_header(chunks: list[bytes], changes: dict[str, Any], refused: Callable[..., None]) -> None:
    refused(forge(chunks, segment=changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": [1] * 9, "decoder_strides": [16] * 8, "kernels": [1] * 8},  # 2^64 pixels of one cell
        {"hfov_deg": [5e-324, 5e-324]},  # infinite focal length
        {"hfov_deg": [1e-300, 78.1]},  # every view is decoded at the greatest size
        {"hfov_deg": [0.01, 0.01]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_work_without_end(
    chunks: list[bytes], changes: dict[str, Any], refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused on opening: a decoder that let it pass would run out of memory, so none is started here."""
    monkeypatch.setattr("test_hostile.view", lambda path: None)
    refused(forge(chunks, segment=changes))


def test_wide_stages_do_not_take_all_memory() -> None:
    config = NetworkConfig(96, 48, (1, 4096), decoder_strides=(8,), kernels=(1,), encoder_strides=(1,))
    with pytest.raises(ArgumentError, match="ask for a smaller view"):
        check_size(nerv360.Viewport(width=8192, height=1080), config)
    narrow = NetworkConfig(96, 48, (1, 1), decoder_strides=(8,), kernels=(1,), encoder_strides=(1,))
    check_size(nerv360.Viewport(width=8192, height=8192), narrow)
    with pytest.raises(ArgumentError, match="ask for a smaller view, of at most"):
        check_size(nerv360.Viewport(width=16384, height=8192), narrow)


def test_latents_are_counted_together() -> None:
    grids = tuple(LatentGrid(1, 1, 0) for _ in range(32))
    config = NetworkConfig(8192, 8192, (1, 1), "nerv360-grid", decoder_strides=(1,), kernels=(1,), grids=grids)
    assert latent_values(replace(config, group_size=16), 10) == 32 * 8192 * 8192 > MAX_LATENT_VALUES
    large = configure(preset_for("nerv360-grid", "medium"), 8192, 4096)
    assert latent_values(large, 600) <= MAX_LATENT_VALUES


@pytest.mark.parametrize("count", [2, 4, 6])
def test_wrong_number_of_chunks(chunks: list[bytes], count: int, refused: Callable[..., None]) -> None:
    refused(forge([*chunks, b""][:count]))


@pytest.mark.parametrize(
    "bomb",
    [
        b"",
        b"\x91" * 10**6,
        b"\x81" * 10**6,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdc\x00\x10\xa7nerv360\xdd\xff\xff\xff\xff",
        b"\xdc\x00\x10\xa7nerv360\xdd\x7f\xff\xff\xff" + b"\x01" * 1000,
        b"\xdc\x00\x10\xa7nerv360" + b"\x91" * 10**6,
        b"\xdc\x00\x10\xa7nerv\xff60" + b"\x01" * 100,
        b"\xc1",
        b"\xc7\x01\x05\x00",
    ],
    ids=lambda bomb: f"{bomb[:18].hex()}-{len(bomb)}",
)
def test_messagepack_bombs(chunks: list[bytes], bomb: bytes, refused: Callable[..., None]) -> None:
    refused(preamble(bomb))
    refused(forge(chunks, segment=bomb))
    refused(preamble(msgspec.msgpack.encode(fields(FileHeader, FILE_HEADER, {"segments": msgspec.Raw(bomb or b"\0")}))))


def test_text_that_is_none(chunks: list[bytes], refused: Callable[..., None]) -> None:
    header = msgspec.msgpack.encode(fields(SegmentHeader, segment_header(), {}))
    for good, bad in ((b"nerv360", b"nerv\xff60"), (b"yaw", b"y\xffw")):
        refused(forge(chunks, segment=header.replace(good, bad)))


@pytest.mark.parametrize("name", ["least", "step"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scaling(chunks: list[bytes], name: str, value: float, refused: Callable[..., None]) -> None:
    offset = 0 if name == "least" else 4
    table = chunks[1][:offset] + struct.pack("<f", value) + chunks[1][offset + 4 :]
    refused(forge([chunks[0], table, *chunks[2:]]))


def varints(*values: int) -> bytes:
    return b"".join(map(write_varint, values))


@pytest.mark.parametrize(
    "coded",
    [
        b"",
        b"\xff" * 100,
        varints(2**30) + b"\x01" * 1000,
        varints(2**17) + b"\x01" * 2**17,
        varints(10**6) + b"\xff\xff\xff\xff\x0f" * 10**6,
        varints(2, 2**20 + 1, 0) + bytes(8),
        varints(0),
        varints(0) + b"\0",
        varints(0) + bytes(4),
        varints(0) + b"\x01" * 10**6,
        varints(10**5) + bytes(10**5),
    ],
    ids=lambda coded: f"{coded[:12].hex()}-{len(coded)}",
)
def test_coded_integers(chunks: list[bytes], coded: bytes, refused: Callable[..., None]) -> None:
    count, (weights, tables, group, *rest) = len(decoder_tensors(build(CONFIG))), chunks
    refused(forge([weights[: 2 * count] + coded, tables, group, *rest]))
    refused(forge([weights, tables[:16] + varints(len(coded)) + coded, group, *rest]))
    refused(forge([weights, tables, coded, *rest]))


def test_lengths_of_contexts(chunks: list[bytes], refused: Callable[..., None]) -> None:
    weights, tables, *groups = chunks
    length, start = read_varint(tables, 16)
    for wrong in (0, 1, length - 4, length + 1, 2**20, 2**34, 2**35 - 1):
        refused(forge([weights, tables[:16] + varints(wrong) + tables[start:], *groups]))
    for head in (b"\xff" * 5, b"\xff" * 6 + b"\0", b"\x80"):
        refused(forge([weights, tables[:16] + head, *groups]))


@pytest.mark.parametrize("scale", [40, 255])
def test_scales_of_weights(chunks: list[bytes], scale: int, refused: Callable[..., None]) -> None:
    count = len(decoder_tensors(build(CONFIG)))
    refused(forge([chunks[0][:count] + bytes([scale]) + chunks[0][count + 1 :], *chunks[1:]]))


@pytest.mark.parametrize("seed", range(4))
def test_forged_contexts_are_read_or_refused(chunks: list[bytes], seed: int, tmp_path: Path) -> None:
    """No value of a context is wrong by itself: the latents that it gives are decoded, or the parts do not fit."""
    rng, largest = np.random.default_rng(seed), MAX_SYMBOL + MAX_ESCAPE
    numbers = rng.choice([-largest, -1000, -1, 0, 1, 1000, largest], IntegerContextModel.size(2)).astype(np.int32)
    contexts = IntegerContextModel.of(numbers, 2)
    tables = write_tables([ChannelQuantizer(-0.5, 0.25)] * 2, contexts)
    decodes_or_refuses(tmp_path, forge([chunks[0], tables, *chunks[2:]]))
    decodes_or_refuses(tmp_path, forge(small_chunks(contexts=IntegerContextModel.of(numbers // 1000, 2))))


def test_damage_with_right_checksums(chunks: list[bytes], tmp_path: Path) -> None:
    rng = random.Random(0)
    for number in range(45):
        damaged = [bytearray(chunk) for chunk in chunks]
        chunk = damaged[number % 3]
        for _ in range(rng.choice([1, 1, 5])):
            chunk[rng.randrange(len(chunk))] ^= rng.randrange(1, 256)
        decodes_or_refuses(tmp_path, forge([bytes(chunk[: rng.choice([None, -4])]) for chunk in damaged]))


def decodes_or_refuses(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "forged.nerv360"
    path.write_bytes(data)
    with bounded():
        try:
            view(path)
        except BitstreamError as error:
            assert "\n" not in str(error)


def test_chunks_that_do_not_fit(chunks: list[bytes], refused: Callable[..., None]) -> None:
    weights, tables, group, *rest = chunks
    for short in (b"", weights[:20], weights[:-4], weights[:-1], weights + bytes(4), weights + b"\x01" * 4):
        refused(forge([short, tables, group, *rest]))
    for other in (b"", tables[:-1], tables + b"\0", tables[: len(tables) // 2]):
        refused(forge([weights, other, group, *rest]))
    for wrong in (group[:-1], group[:-4], group[4:], group + bytes(4), group + b"\x01" * 4, b"\xff" * 400):
        refused(forge([weights, tables, wrong, *rest]))


def test_weights_too_few_for_the_network(chunks: list[bytes], refused: Callable[..., None]) -> None:
    """A hundred million parameters from a few bytes, each of which would be a symbol that is certain."""
    certain = bytes(2 * len(decoder_tensors(build(CONFIG)))) + varints(0) + b"\x01" * 8
    wide = {"channels": [2048, 1024, 512]}
    refused(forge([certain, *chunks[1:]], segment=wide))
    refused(forge([certain + bytes(10**5), *chunks[1:]], segment=wide))
