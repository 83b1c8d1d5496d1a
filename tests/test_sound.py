"""Sound: packets of the source go into a file, and come out of it, as they are and in step."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import pytest
import reference_decoder
from aiohttp.test_utils import TestClient, TestServer
from helpers.commands import Commands
from helpers.films import SAMPLE_RATE, packets_of, panoramas, write_film

import nerv360
from nerv360.bitstream import container as layout
from nerv360.bitstream.container import PREAMBLE, VERSION, Container
from nerv360.bitstream.header import MAX_SOUND_CHUNK, MotionHeader
from nerv360.bitstream.sound import read_sound
from nerv360.cluster.plan import Request, plan
from nerv360.cluster.scheduler import encode_plans
from nerv360.cluster.worker import run_in_process
from nerv360.codec.encoder import read_sound_of
from nerv360.codec.mux import mux
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.serving import server as serving
from nerv360.video.clip import Clip

INSTANT = nerv360.preset("instant")
FRAMES = 40  # of 25 a second
KINDS = {"aac.mp4": ("aac", "stereo"), "opus.mkv": ("libopus", "5.1"), "silent.mp4": None}
EXACT_S = 0.0011  # Matroska counts in milliseconds


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same pictures, without loss, with several kinds of sound, or none."""
    folder, pictures = tmp_path_factory.mktemp("films"), panoramas(FRAMES, 64, 32)
    return {name: write_film(folder / name, pictures, sound=sound, crf="0") for name, sound in KINDS.items()}


@pytest.fixture(scope="module")
def files(films: dict[str, Path]) -> dict[str, Path]:
    for film in films.values():
        nerv360.encode(film, film.with_suffix(".nerv360"), INSTANT)
    return {name: film.with_suffix(".nerv360") for name, film in films.items()}


def assert_same(found: Sequence[tuple[float, bytes]], expected: Sequence[tuple[float, bytes]]) -> None:
    assert [data for _, data in found] == [data for _, data in expected]
    assert [time for time, _ in found] == pytest.approx([time for time, _ in expected], abs=EXACT_S)


@pytest.mark.parametrize("name", ["aac.mp4", "opus.mkv"])
def test_packets_come_out_of_decode_as_they_were(
    name: str, films: dict[str, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    source = [each for each in packets_of(films[name]) if each[0] < FRAMES / 25]
    output = tmp_path / name
    nerv360.decode(files[name], output, None)
    assert_same(packets_of(output), source)
    clip = Clip.open(output, sound=True)
    assert clip.sound.format == Clip.open(films[name], sound=True).sound.format
    assert clip.tags.spherical is not None or output.suffix == ".mkv"
    nerv360.decode(files[name], output, nerv360.Viewport(width=32, height=24), frames=range(20, 30))
    expected = [(time - 0.8, data) for time, data in source if 0.8 - 0.08 <= time < 1.2]
    shift = expected[0][0] - packets_of(output)[0][0] if output.suffix == ".mkv" else 0  # it begins with its first
    assert_same([(time + shift, data) for time, data in packets_of(output)], expected)
    nerv360.decode(files[name], output, None, frames=range(2), audio=False)
    assert not packets_of(output)


def test_segments_hold_the_sound_of_their_time(films: dict[str, Path], files: dict[str, Path], tmp_path: Path) -> None:
    for output in (tmp_path / "film.nerv360", tmp_path / "parts.json"):
        film = plan(Request(films["aac.mp4"], output), INSTANT, 0.6)
        assert not encode_plans([film], run_in_process)[0].reason
        with Container(output) as container, Container(files["aac.mp4"]) as whole:
            assert len(container.segments) == 3
            span = Fraction(-1), Fraction(10)
            assert list(read_sound(container, *span)) == list(read_sound(whole, *span))
            part = [time for time, _ in read_sound(container, Fraction(1), Fraction(3, 2))]
            assert part == [1024 * number for number in range(47, 71)]


def test_files_without_sound_are_as_before(films: dict[str, Path], files: dict[str, Path], tmp_path: Path) -> None:
    silent = files["silent.mp4"].read_bytes()
    nerv360.encode(Clip.open(films["aac.mp4"]), tmp_path / "none.nerv360", INSTANT)
    assert (tmp_path / "none.nerv360").read_bytes() == silent
    assert int(PREAMBLE.unpack(silent[: PREAMBLE.size])[1]) == MotionHeader.version
    assert len(msgspec.msgpack.decode(silent[18 : 18 + PREAMBLE.unpack(silent[:18])[2]])) == 7


def test_the_reference_decoder_finds_the_same_sound(films: dict[str, Path], files: dict[str, Path]) -> None:
    for name in ("aac.mp4", "opus.mkv"):
        found = reference_decoder.read_sound(files[name].read_bytes())
        assert_same(found, [each for each in packets_of(films[name]) if each[0] < FRAMES / 25])


def test_other_codecs_are_left_out_in_a_line(commands_with_torch: Commands, tmp_path: Path) -> None:
    for name, encoder, told in (
        ("a.mkv", "libmp3lame", "mp3 is not kept, but AAC and Opus are; convert it first (ffmpeg -i FILE -c:v copy"),
        ("a.ts", "aac", "its AAC is that of broadcasts (ADTS); repack it first (ffmpeg -i FILE -c copy NEW.mp4)"),
    ):
        film = write_film(tmp_path / name, panoramas(3, 64, 32), sound=(encoder, "stereo"))
        (remark,) = Clip.open(film, sound=True).remarks
        assert remark.startswith(f"sound left out: {told}")
    for option, count in (("--audio", 1), ("--no-audio", 0)):
        output = tmp_path / f"{option}.nerv360"
        ended = commands_with_torch("encode", film, "-o", output, "--preset", "instant", option)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count(f"{film}: {remark}") == count
        with Container(output) as container:
            assert container.header.sound is None


def test_sound_counts_in_the_budget_and_in_limits(
    films: dict[str, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    with Container(files["aac.mp4"]) as container:
        spent = container.budget()
        assert spent["sound"] == container.sound_size > 4000
        assert sum(spent.values()) == container.size
    clip = Clip.open(films["aac.mp4"], frames=6, sound=True)
    sound, bits = sum(map(len, read_sound_of(clip))), 8 * 25 / 6
    result = nerv360.encode(clip, tmp_path / "a.nerv360", INSTANT.replace(bitrate=(sound + 900) * bits))
    assert sound + 800 < result.size < sound + 1000
    with pytest.raises(ArgumentError, match=r"the sound of these 6 frames takes .*; allow more, or leave it out"):
        nerv360.encode(clip, tmp_path / "b.nerv360", INSTANT.replace(bitrate=sound * bits))
    assert nerv360.eval_file(result.path, clip).size == result.size - sound


def test_a_mov_cannot_hold_opus(files: dict[str, Path], commands: Commands, tmp_path: Path) -> None:
    ended = commands("decode", files["opus.mkv"], "-o", tmp_path / "a.mov")
    assert ended.returncode == 2
    assert "a.mov: a .mov cannot hold sound in Opus; name an .mp4 or .mkv" in ended.stderr
    assert not list(tmp_path.iterdir())


# Files that were made to do harm

Forge = Callable[[list[Any], list[bytes]], None]


def forged(path: Path, change: Forge, version: int = layout.VERSION) -> bytes:
    """A file with right lengths and checksums, after a change of its header and of its chunks of sound."""
    data = path.read_bytes()
    _, _, length, _ = PREAMBLE.unpack(data[:18])
    header = msgspec.msgpack.decode(data[18 : 18 + length])
    table = header[7][4]
    sizes = [size for size, _ in table[0]]
    ends = np.cumsum([len(data) - sum(sizes), *sizes]).tolist()
    chunks = [data[start:end] for start, end in pairwise(ends)]
    pictures = data[18 + length : ends[0]]
    before = list(chunks)
    change(header, chunks)
    if chunks != before:
        table[0][:] = [[len(chunk), crc32(chunk)] for chunk in chunks]
    header[6][0][1] = len(pictures) + sum(map(len, chunks))
    packed = msgspec.msgpack.encode(header)
    return PREAMBLE.pack(layout.MAGIC, version, len(packed), crc32(packed)) + packed + pictures + b"".join(chunks)


def nothing(header: list[Any], chunks: list[bytes]) -> None:
    """The file as it is."""


def field(index: int, value: object) -> Forge:
    def change(header: list[Any], _: list[bytes]) -> None:
        header[7][index] = value

    return change


def chunk(*packets: tuple[object, object]) -> Forge:
    def change(_: list[Any], chunks: list[bytes]) -> None:
        chunks[1] = msgspec.msgpack.encode(packets)

    return change


def tables(change: Callable[[list[Any]], object]) -> Forge:
    return lambda header, _: change(header[7][4]) and None


SECOND = SAMPLE_RATE  # the first sample of chunk 1
OF_HEADERS: list[tuple[Forge, str]] = [
    (field(0, "mp3"), "impossible FileHeader"),
    (field(0, "aac\0" * 10**6), "impossible FileHeader"),
    (field(1, 0), "impossible FileHeader"),
    (field(1, 2**40), "impossible FileHeader"),
    (field(2, 0), "impossible FileHeader"),
    (field(2, 256), "impossible FileHeader"),
    (field(3, b""), "impossible FileHeader"),
    (field(3, bytes(5000)), "impossible FileHeader"),
    (field(3, None), "impossible FileHeader"),
    (tables(lambda table: table.append([])), "sound of 2 segments, of 1"),
    (tables(lambda table: table.clear()), "impossible FileHeader"),
    (tables(lambda table: table[0].extend([[0, 0]] * 2)), "4 seconds of sound in a segment of 40 frames"),
    (tables(lambda table: table[0].append([0, 0, 0])), "impossible FileHeader"),
    (tables(lambda table: table[0][0].__setitem__(0, 2**31)), f"more than {MAX_SOUND_CHUNK} bytes"),
    (tables(lambda table: table[0][0].__setitem__(0, 1)), "the chunks do not fill their segment"),
    (tables(lambda table: table[0][0].__setitem__(1, 1)), "checksum"),
]
OF_CHUNKS: list[tuple[Forge, str]] = [
    (chunk((SECOND - 1, b"a")), "packets of another second"),
    (chunk((2 * SECOND, b"a")), "packets of another second"),
    (chunk((SECOND + 1, b"a"), (SECOND + 1, b"b")), "not in order"),
    (chunk((SECOND, b"")), "impossible chunk"),
    (chunk((SECOND, bytes(2**16 + 1))), "impossible chunk"),
    (chunk((SECOND, "text")), "impossible chunk"),
    (chunk((2**60, b"a")), "impossible chunk"),
    (chunk((1.5, b"a")), "impossible chunk"),
    (chunk(*((SECOND + number, b"a") for number in range(4097))), "impossible chunk"),
    (lambda _, chunks: chunks.__setitem__(1, b"\x91" * 50_000), "impossible chunk"),
    (lambda _, chunks: chunks.__setitem__(1, b"\xdd\xff\xff\xff\xff"), "impossible chunk"),
    (lambda _, chunks: chunks.__setitem__(1, b""), "impossible chunk"),
]


@pytest.mark.parametrize(("change", "told"), [*OF_HEADERS, *OF_CHUNKS])
def test_forged_sound_is_refused(change: Forge, told: str, files: dict[str, Path], tmp_path: Path) -> None:
    path, output = tmp_path / "forged.nerv360", tmp_path / "out.mp4"
    path.write_bytes(forged(files["aac.mp4"], nothing))
    nerv360.decode(path, output, None, frames=range(20, 30))
    output.unlink()
    path.write_bytes(forged(files["aac.mp4"], change))
    with pytest.raises(BitstreamError, match=told) as caught:
        with Container(path) as container:
            container.verify()
        nerv360.decode(path, output, None, frames=range(20, 30))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not output.exists()


def test_older_versions_have_no_sound(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "old.nerv360"
    path.write_bytes(forged(files["aac.mp4"], nothing, version=MotionHeader.version))
    with pytest.raises(BitstreamError, match=f"sound, or times of frames, in a file of version {MotionHeader.version}"):
        Container(path)
    path.write_bytes(path.read_bytes()[:8] + struct.pack("<H", VERSION + 1) + path.read_bytes()[10:])
    with pytest.raises(BitstreamError, match=f"format version {VERSION + 1} is newer than {VERSION}"):
        Container(path)


def test_pages_read_the_sound_of_a_file_in_parts(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.nerv360").write_bytes(files["aac.mp4"].read_bytes())
    mux([tmp_path / "parts" / "a.nerv360"], tmp_path / "film.json")
    data = files["aac.mp4"].read_bytes()

    async def talk() -> None:
        async with TestClient(TestServer(serving.create_app(tmp_path / "film.json"))) as client:
            about = await (await client.get("/player.json")).json()
            assert about["sound"] == {"codec": "aac", "sampleRate": SAMPLE_RATE, "channels": 2}
            part = await client.get("/video.nerv360", headers={"Range": f"bytes=5-{len(data) + 100}"})
            assert (part.status, await part.read()) == (206, data[5:])
            assert part.headers["Content-Range"] == f"bytes 5-{len(data) - 1}/{len(data)}"
            for span in (
                None,
                "bytes=5-",
                "bytes=-5",
                "bytes=7-5",
                f"bytes={len(data)}-{len(data) + 9}",
                "bytes=0-99999999",
            ):
                refused = await client.get("/video.nerv360", headers={"Range": span} if span else {})
                assert refused.status == 416, span

    asyncio.run(talk())
