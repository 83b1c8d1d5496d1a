"""Files of keys made to do harm. Each is a picture, or the package's own error, with little work and memory."""

import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import pytest
from helpers.golden import FOLDER as GOLDEN
from helpers.motion_files import motion_file
from msgspec.structs import replace
from test_bitstream import VIEW
from test_hostile import bounded, fields, preamble

import nerv360
from nerv360.bitstream.container import Container, write_container
from nerv360.bitstream.header import FileHeader, MotionHeader
from nerv360.errors import BitstreamError, OutOfMemory
from nerv360.motion.encoder import Tuning
from nerv360.video.synthetic import render_frame

WIDTH, HEIGHT, GROUPS = 64, 32, (5, 3)


class Parts:
    """A valid file, and what it is made of."""

    def __init__(self, path: Path, eyes: int = 1, sector: int = 0) -> None:
        scale = 2 if sector else 1
        size = {"width": scale * WIDTH, "height": scale * HEIGHT}
        frames = [render_frame(index, **size, frames=64) for index in range(sum(GROUPS) * eyes)]
        first = GROUPS[0] * eyes
        self.path, self.data = path, motion_file([frames[:first], frames[first:]], Tuning(interval=2), 12, eyes, sector)
        path.write_bytes(self.data)
        with Container(path) as container:
            (segment,) = container.segments
            self.version, self.file, self.segment = container.version, container.header, segment.header
            self.chunks = [container.chunk(segment, index) for index in range(len(segment.header.chunks))]

    def forge(
        self,
        chunks: Sequence[bytes] | None = None,
        file: dict[str, Any] | None = None,
        segment: dict[str, Any] | None = None,
    ) -> bytes:
        """The file with right lengths and checksums, but these chunks, and these fields in its headers."""
        chunks = self.chunks if chunks is None else chunks
        table = {"chunks": [[len(chunk), crc32(chunk)] for chunk in chunks]}
        packed = msgspec.msgpack.encode(fields(MotionHeader, self.segment, table | (segment or {})))
        body = packed + b"".join(chunks)
        claims = {"frames": sum(GROUPS) if self.segment.sector else len(chunks) // (self.file.eyes or 1)} | (file or {})
        entry = [claims["frames"], len(body), len(packed), crc32(packed)]
        header = msgspec.msgpack.encode(fields(FileHeader, self.file, {"segments": [entry]} | claims))
        return preamble(header, version=self.version) + body


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    found = Parts(tmp_path_factory.mktemp("valid") / "valid.nerv360")
    assert found.forge() == found.data
    look(found.path)  # loads all that a first view loads, before anything is counted
    return found


def look(path: Path) -> None:
    """A view of the first frame, one of the last, and a panorama."""
    with nerv360.open(path) as decoder:
        decoder.viewport(0, VIEW)
        decoder.viewport(decoder.frames - 1, VIEW, eye=decoder.eyes[-1])
        decoder.panorama(decoder.frames // 2)


def refuse(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "hostile.nerv360").write_bytes(data)
    with bounded(), pytest.raises(BitstreamError) as caught:
        look(tmp_path / "hostile.nerv360")
    assert "\n" not in str(caught.value)


def look_or_refuse(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "hostile.nerv360").write_bytes(data)
    with bounded(), suppress(BitstreamError):
        look(tmp_path / "hostile.nerv360")


def test_truncated(parts: Parts, tmp_path: Path) -> None:
    for length in {*range(0, len(parts.data), 997), *range(0, 200, 17), len(parts.data) - 1}:
        refuse(tmp_path, parts.data[:length])


def test_flipped(parts: Parts, tmp_path: Path) -> None:
    """Headers, and every key: each is read to be checked."""
    rng = random.Random(0)
    for position in {*range(18), *rng.sample(range(len(parts.data)), 60)}:
        data = bytearray(parts.data)
        data[position] ^= rng.randrange(1, 256)
        (tmp_path / "flipped.nerv360").write_bytes(data)
        with bounded(), pytest.raises(BitstreamError), Container(tmp_path / "flipped.nerv360") as container:
            container.verify()


def test_damage_with_right_checksums(parts: Parts, tmp_path: Path) -> None:
    rng = random.Random(0)
    for number in range(40):
        damaged = [bytearray(chunk) for chunk in parts.chunks]
        chunk = damaged[number % len(damaged)]
        for _ in range(rng.choice([1, 1, 5])):
            chunk[rng.randrange(len(chunk))] ^= rng.randrange(1, 256)
        look_or_refuse(tmp_path, parts.forge([bytes(chunk[: rng.choice([None, -4])]) for chunk in damaged]))


@pytest.mark.parametrize("seed", range(4))
def test_random_keys(parts: Parts, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    chunks = [rng.bytes(int(size)) for size in rng.choice([20, 400, 4000], sum(GROUPS))]
    look_or_refuse(tmp_path, parts.forge(chunks, segment={"steps": rng.choice([1, 65535], 16).tolist()}))


@pytest.mark.parametrize("key", [b"", b"\0", b"\xff" * 5], ids=repr)
def test_a_few_bytes_are_no_large_picture(parts: Parts, key: bytes, tmp_path: Path) -> None:
    """Each of these is bits without end, all of which mean something."""
    refuse(tmp_path, parts.forge([key] * sum(GROUPS), file={"width": 2048, "height": 1024}))


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": [5, 4]},
        {"groups": [5, 2]},
        {"groups": [8, 0]},
        {"groups": [-5, 13]},
        {"groups": [2**63, 8]},
        {"groups": [8], "interval": 8},
        {"groups": [1] * 10**6},
        {"interval": 0},
        {"interval": 65},
        {"interval": 2.5},
        {"steps": []},
        {"steps": [192, 211]},
        {"steps": [0, 211, 317]},
        {"steps": [192, 2**31, 317]},
        {"steps": [1] * 17},
        {"hfov_deg": [float("nan"), 78.1]},
        {"view_width": 0},
        {"model": "nerv360"},
        {"model": "nerv360-keys"},
        {"chunks": [[2**31, 0]] * 8},
        {"chunks": [[0, 0]] * 10**5},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_headers(parts: Parts, changes: dict[str, Any], tmp_path: Path) -> None:
    refuse(tmp_path, parts.forge(segment=changes))


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    found = Parts(tmp_path_factory.mktemp("valid") / "stereo.nerv360", eyes=2)
    assert found.forge() == found.data
    look(found.path)
    return found


@pytest.mark.parametrize(
    ("file", "segment"),
    [
        ({"eyes": 3}, {}),
        ({"eyes": 1}, {}),
        ({"eyes": 0}, {}),
        ({"eyes": "2"}, {}),
        ({"eyes": [2]}, {}),
        ({"eyes": 2.0}, {"inter_view_levels": 1.5}),
        ({"eyes": None}, {}),
        ({}, {"inter_view_levels": None}),
        ({}, {"inter_view_levels": 0}),
        ({}, {"inter_view_levels": 17}),
        ({}, {"inter_view_levels": "1"}),
        ({"frames": 16}, {"groups": [10, 6]}),
        ({"frames": 7}, {"groups": [4, 3]}),
    ],
    ids=str,
)
def test_headers_of_both_eyes(stereo: Parts, file: dict[str, Any], segment: dict[str, Any], tmp_path: Path) -> None:
    refuse(tmp_path, stereo.forge(file=file, segment=segment))


def test_an_odd_number_of_pictures(stereo: Parts, tmp_path: Path) -> None:
    refuse(tmp_path, stereo.forge(stereo.chunks[:-1], file={"frames": 8}))


def test_both_eyes_are_none_of_an_older_version(stereo: Parts, tmp_path: Path) -> None:
    data = bytearray(stereo.data)
    data[8] = 11
    refuse(tmp_path, bytes(data))


def test_a_network_of_both_eyes(tmp_path: Path) -> None:
    with Container(GOLDEN / "nerv360-grid.nerv360") as container:
        (segment,) = container.segments
        chunks = [container.chunk(segment, index) for index in range(len(segment.chunks))]
        forged = write_container(replace(container.header, eyes=2), iter([(segment.header, chunks)]))
    refuse(tmp_path, forged)


def test_right_keys_of_random_bytes(stereo: Parts, tmp_path: Path) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        chunks = [chunk if index % 8 < 5 else rng.bytes(400) for index, chunk in enumerate(stereo.chunks)]
        look_or_refuse(tmp_path, stereo.forge(chunks))


@pytest.mark.parametrize("size", [{"width": 1, "height": 1}, {"width": 16384, "height": 1}, {"width": 1}])
def test_other_sizes(parts: Parts, size: dict[str, int], tmp_path: Path) -> None:
    """Keys do not say what size they are of. Nothing is as small as a pixel of colour."""
    refuse(tmp_path, parts.forge(file=size))


def test_more_than_the_core_can_hold(parts: Parts, tmp_path: Path) -> None:
    largest = {"width": 16384, "height": 16384}
    refuse(tmp_path, parts.forge(file=largest))
    (tmp_path / "large.nerv360").write_bytes(parts.forge(parts.chunks[:1], file=largest, segment={"groups": [1]}))
    with bounded(), pytest.raises(OutOfMemory, match="a frame of 16384x16384 needs about"):
        nerv360.open(tmp_path / "large.nerv360").panorama(0)
    (tmp_path / "large.nerv360").write_bytes(parts.forge(file=largest))
    with pytest.raises(BitstreamError, match="16384x16384, 3 keys to a frame: takes more than 4 GiB"):
        nerv360.open(tmp_path / "large.nerv360").panorama(0)


def test_many_groups(parts: Parts, tmp_path: Path) -> None:
    """Opening a file takes memory as the file does; a frame takes the work of its group."""
    (tmp_path / "many.nerv360").write_bytes(parts.forge([b"\xff" * 40] * 30_000, segment={"groups": [1] * 30_000}))
    with bounded():
        look(tmp_path / "many.nerv360")


# Sectors: behind the keys of each span, a chunk of lengths, and one of two sectors


@pytest.fixture(scope="module")
def of_sectors(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    found = Parts(tmp_path_factory.mktemp("sectors") / "sectors.nerv360", sector=64)
    assert found.forge() == found.data
    assert len(found.chunks) > sum(GROUPS) + 2
    look(found.path)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_any_bytes_in_chunks_of_sectors(of_sectors: Parts, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    chunks = list(of_sectors.chunks)
    for _ in range(3):
        index = chance.randrange(len(chunks))
        change = chance.choice(("bytes", "cut", "none", "other"))
        chunks[index] = {
            "bytes": chance.randbytes(len(chunks[index])),
            "cut": chunks[index][: len(chunks[index]) // 2],
            "none": b"",
            "other": chance.choice(chunks),
        }[change]
    look_or_refuse(tmp_path, of_sectors.forge(chunks))


def test_lengths_that_are_not_those_of_the_sectors(of_sectors: Parts, tmp_path: Path) -> None:
    for change in (b"", of_sectors.chunks[2] + b"\0", of_sectors.chunks[2][:-1]):
        refuse(tmp_path, of_sectors.forge([*of_sectors.chunks[:2], change, *of_sectors.chunks[3:]]))
    refuse(tmp_path, of_sectors.forge([of_sectors.chunks[0], bytes(9), *of_sectors.chunks[2:]]))


def test_sectors_of_another_span(of_sectors: Parts, tmp_path: Path) -> None:
    first, second, *rest = of_sectors.chunks[0:3], of_sectors.chunks[3:6], of_sectors.chunks[6:]
    swapped = [first[0], *second[1:], second[0], *first[1:], *rest[0]]
    look_or_refuse(tmp_path, of_sectors.forge(swapped))


@pytest.mark.parametrize("sector", [128, 16384, None])
def test_other_sectors_than_there_are(of_sectors: Parts, tmp_path: Path, sector: int | None) -> None:
    refuse(tmp_path, of_sectors.forge(segment={"sector": sector}))
