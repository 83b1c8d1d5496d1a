"""Sectors of keys: a view reads those that it depends on, and looks as if all were read; damage is told."""

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import pytest
from helpers.browser import serving_app, static_app
from helpers.commands import Commands
from helpers.films import panoramas, write_film
from helpers.motion_files import motion_file

import nerv360
from nerv360.api import encode
from nerv360.bitstream.container import Container
from nerv360.bitstream.header import MotionHeader, unpack
from nerv360.codec.encoder import checkpoint_path
from nerv360.config import preset_for
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.evaluation.streaming import stream_cost
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.motion.core import Core
from nerv360.motion.encoder import Tuning
from nerv360.motion.keys import key_order, split_into_spans
from nerv360.motion.sectors import SectorTable, sector_side, write_chunks
from nerv360.progress import Update
from nerv360.quality import psnr
from nerv360.video.clip import Clip

WIDTH, HEIGHT, FRAMES = 640, 320, 9
ALIKE_DB = 45.0  # of views by some sectors beside views by all; the least was 50
SECTORS = preset_for("nerv360-motion", "instant").replace(sectors=True)
LOOKS = {"ahead": (0, 0), "seam": (178, 10), "north": (30, 85), "south": (-100, -80)}


def look(name: str) -> Viewport:
    yaw, pitch = LOOKS[name]
    return Viewport(yaw_deg=yaw, pitch_deg=pitch, hfov_deg=60, width=80, height=60)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sectors") / "film.nerv360"
    frames = panoramas(FRAMES, WIDTH, HEIGHT)
    path.write_bytes(motion_file([frames[:6], frames[6:]], Tuning(interval=2), 12, sector=64))
    return path


@pytest.mark.parametrize("name", LOOKS)
def test_a_view_looks_as_cut_out_of_the_panorama(file: Path, name: str) -> None:
    with nerv360.open(file) as decoder, nerv360.open(file) as whole:
        for frame in (3, 0, 5, 8):
            expected = extract_viewport(whole.panorama(frame), look(name))
            assert psnr(decoder.viewport(frame, look(name)), expected) > ALIKE_DB


def test_a_view_that_turns_sharpens(file: Path) -> None:
    with nerv360.open(file) as decoder, nerv360.open(file) as whole:
        for yaw in range(0, 360, 40):
            view = Viewport(yaw_deg=yaw, hfov_deg=60, width=80, height=60)
            assert psnr(decoder.viewport(4, view), extract_viewport(whole.panorama(4), view)) > ALIKE_DB
        np.testing.assert_array_equal(decoder.panorama(4), whole.panorama(4))


def test_what_moves_is_followed_from_key_to_key(tmp_path: Path) -> None:
    """A camera that turns by 24 pixels a frame, of keys that predict one another in a row."""
    frames = [np.roll(frame, 24 * index, axis=1) for index, frame in enumerate(panoramas(17, WIDTH, HEIGHT))]
    (tmp_path / "turn.nerv360").write_bytes(motion_file([frames], Tuning(interval=1), 12, sector=64))
    for frame in (0, 16):
        with nerv360.open(tmp_path / "turn.nerv360") as decoder, nerv360.open(tmp_path / "turn.nerv360") as whole:
            expected = extract_viewport(whole.panorama(frame), look("ahead"))
            assert psnr(decoder.viewport(frame, look("ahead")), expected) > ALIKE_DB


def test_keys_that_are_read_anew_get_their_sectors_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerv360.codec.motion_decoder.BYTES_KEPT", 0)  # slots for the keys of one frame
    views = [Viewport(yaw_deg=yaw, hfov_deg=60, width=80, height=60) for yaw in (0, 90, 0, 180, 90)]
    with nerv360.open(file) as decoder, nerv360.open(file) as whole:
        for frame in (5, 8, 4, 0, 5, 7, 5):
            for view in views:
                expected = extract_viewport(whole.panorama(frame), view)
                assert psnr(decoder.viewport(frame, view), expected) > ALIKE_DB, (frame, view)
        np.testing.assert_array_equal(decoder.panorama(5), whole.panorama(5))


def test_memory_follows_the_view(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores: list[Core] = []

    class KeptCore(Core):
        def __init__(self, width: int, height: int, sector: int, encoding: bool) -> None:
            super().__init__(width, height, sector, encoding)
            cores.append(self)

    monkeypatch.setattr("nerv360.codec.motion_decoder.Core", KeptCore)
    with nerv360.open(file) as decoder:
        for frame in range(6):
            decoder.viewport(frame, look("ahead"))
        seen = cores[0].memory_bytes
        for frame in range(6):
            decoder.panorama(frame)
    assert seen < 0.7 * cores[0].memory_bytes


def test_a_view_fetches_part_of_the_file(file: Path) -> None:
    views = [look("ahead")] * FRAMES
    cost = stream_cost(file, views)
    assert 0.2 < cost.share < 0.7
    assert cost.total == cost.opening + cost.fetched.sum() <= cost.size == file.stat().st_size
    pole = stream_cost(file, [look("north")] * FRAMES)
    assert pole.total < cost.size


def test_without_sectors_all_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "whole.nerv360").write_bytes(motion_file([panoramas(5)], Tuning(), 12))
    cost = stream_cost(tmp_path / "whole.nerv360", [look("ahead")] * 5)
    assert cost.total == cost.size


def test_views_for_each_frame(file: Path) -> None:
    with pytest.raises(ArgumentError, match="2 views for 9 frames"):
        stream_cost(file, [look("ahead")] * 2)


def test_spans() -> None:
    keys = key_order(9, 4)
    kinds = [[key.kind for key in span] for span in split_into_spans(keys)]
    assert kinds == [["root"], ["P"], ["B", "B", "B"], ["P"], ["B", "B", "B"]]
    assert list(chain.from_iterable(split_into_spans(keys))) == keys


@pytest.mark.parametrize(
    ("width", "side"), [(64, 64), (1024, 64), (1025, 128), (2048, 128), (6144, 512), (16384, 1024)]
)
def test_sectors_are_at_most_sixteen_across(width: int, side: int) -> None:
    assert sector_side(width) == side


def test_lengths_are_read_back() -> None:
    core, keys = Core(300, 150, 64), key_order(9, 4)
    lengths = np.random.default_rng(1).integers(0, 70, (9, core.sectors)).astype(np.uint32)
    lengths[lengths < 30] = 0
    lengths[0, 0], lengths[3, -1] = 500_000, 1
    np.testing.assert_array_equal(core.read_lengths(keys, core.write_lengths(keys, lengths)), lengths)


def test_a_span_is_read_back() -> None:
    core, keys = Core(200, 100, 64), key_order(3, 1)[1:2]
    sectors = [bytes([number]) * (number % 3) for number in range(core.sectors)]
    _, lengths, together = write_chunks(200, 100, 64, keys, [(b"base", sectors)])
    table = SectorTable.read(core, keys, lengths, len(together))
    for number, sector in enumerate(sectors):
        start, length = table.stretch(number)
        assert table.split(number, together[start : start + length]) == [sector]
    with pytest.raises(BitstreamError, match=r"sectors of .* bytes in a chunk of 1"):
        SectorTable.read(core, keys, lengths, 1)


def damage(file: Path, target: Path, change: Callable[[bytearray, int, int], None]) -> Path:
    """The file with the sectors of the first span changed; the chunk's checksum is not looked at by a view."""
    data = bytearray(file.read_bytes())
    with Container(file) as container:
        start, length = container.segments[0].chunk_range(2)
    change(data, start, length)
    target.write_bytes(data)
    return target


def test_a_damaged_sector_is_told_where_it_is_seen(file: Path, tmp_path: Path) -> None:
    def zero_the_end(data: bytearray, start: int, length: int) -> None:
        data[start + length - 40 : start + length] = bytes(40)  # the south pole

    damaged = damage(file, tmp_path / "damaged.nerv360", zero_the_end)
    with nerv360.open(damaged) as decoder:
        decoder.viewport(3, look("ahead"))
        with pytest.raises(BitstreamError, match=r"damaged: sector .* of a key ends as none does"):
            decoder.viewport(3, look("south"))
        with pytest.raises(BitstreamError, match="ends as none does"):
            decoder.panorama(3)
        decoder.viewport(3, look("ahead"))


def test_a_file_that_becomes_shorter_is_told(file: Path, tmp_path: Path) -> None:
    shorter = tmp_path / "shorter.nerv360"
    shorter.write_bytes(file.read_bytes())
    with nerv360.open(shorter) as decoder:
        decoder.viewport(8, look("ahead"))
        with shorter.open("r+b") as open_file:
            open_file.truncate(shorter.stat().st_size - 10)
        with pytest.raises(BitstreamError, match="truncated"):
            decoder.panorama(8)


def test_sectors_in_an_older_file_are_refused(file: Path, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    assert data[8:10] == b"\x0e\0"
    data[8] = 12
    (tmp_path / "old.nerv360").write_bytes(data)
    with pytest.raises(BitstreamError, match="a segment of nerv360-motion in a file of version 12"):
        Container(tmp_path / "old.nerv360")


@pytest.mark.parametrize("sector", [0, 63, 65, 32768, -64, "64", 64.5])
def test_impossible_sectors_are_refused(sector: object) -> None:
    fields = ["nerv360-motion", 8, 8, [78, 78], 2, [1], [16], [[1, 0]], None, sector]
    with pytest.raises(BitstreamError, match="impossible MotionHeader"):
        unpack(msgspec.msgpack.encode(fields), MotionHeader)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", panoramas(FRAMES, 320, 160))


def test_an_interrupted_encoding_goes_on_where_it_was(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerv360.codec.motion_journal.SECONDS", 0.0)
    encode(Clip.open(video), tmp_path / "whole.nerv360", SECTORS)

    def stop(update: Update) -> None:
        if (update.stage, update.done) == ("encoding", 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(Clip.open(video), tmp_path / "parts.nerv360", SECTORS, on_progress=stop)
    assert checkpoint_path(tmp_path / "parts.nerv360").exists()
    encode(Clip.open(video), tmp_path / "parts.nerv360", SECTORS)
    assert (tmp_path / "parts.nerv360").read_bytes() == (tmp_path / "whole.nerv360").read_bytes()


def test_commands(video: Path, tmp_path: Path, commands_with_torch: Commands) -> None:
    def run(*arguments: object, refused: bool = False) -> str:
        result = commands_with_torch(*map(str, arguments), cwd=tmp_path)
        assert (result.returncode != 0) == refused, result.stderr
        return result.stderr if refused else result.stdout

    run("encode", video, "-o", "film.nerv360", "--preset", "instant", "--sectors")
    told = run("info", "film.nerv360")
    assert "64x64 pixels" in told
    assert "78.1 degrees wide: at least" in told
    facts = json.loads(run("info", "film.nerv360", "--json"))
    assert {"sectors", "lengths of sectors", "base of P keys"} <= set(facts["budget"])
    assert 0.2 < facts["view_share"] < 0.8
    assert sum(facts["budget"].values()) == (tmp_path / "film.nerv360").stat().st_size
    assert "of the file" in run("stream-cost", "film.nerv360")
    (tmp_path / "trace.csv").write_text("yaw_deg,pitch_deg\n" + "0,0\n" * FRAMES)
    assert "trace.csv" in run("stream-cost", "film.nerv360", "--trace", "trace.csv")
    (tmp_path / "trace.csv").write_text("yaw_deg,pitch_deg\n0,0\n")
    assert "1 views for 9 frames" in run("stream-cost", "film.nerv360", "--trace", "trace.csv", refused=True)
    assert "--sectors" in run("encode", video, "-o", "a.nerv360", "--model", "nerv360", "--sectors", refused=True)


def test_of_a_remote_file_only_what_a_view_needs_is_fetched(file: Path) -> None:
    requests: list[tuple[str, str | None, int, int]] = []
    with (
        serving_app(lambda: static_app(file.parent, requests)) as server,
        nerv360.open(f"{server.address}{file.name}") as remote,
        nerv360.open(file) as local,
    ):
        for frame in (3, 0, 5):
            found = remote.viewport(frame, look("ahead"))
            np.testing.assert_array_equal(found, local.viewport(frame, look("ahead")))
    fetched = sum(size for _, stretch, _, size in requests if stretch)
    assert 0 < fetched < 0.8 * file.stat().st_size
