"""A variable frame rate: frames keep their times, from the source to what is decoded."""

import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import av
import msgspec
import numpy as np
import pytest
import reference_decoder
from helpers.films import packets_of, panoramas, write_film

import nerv360
from nerv360.bitstream.container import MAGIC, PREAMBLE, VERSION, Container
from nerv360.cluster.plan import Request, plan
from nerv360.cluster.scheduler import encode_plans
from nerv360.cluster.worker import run_in_process
from nerv360.errors import BitstreamError
from nerv360.quality import psnr
from nerv360.serving.site import manifest
from nerv360.video.clip import Clip
from nerv360.video.shots import survey

INSTANT = nerv360.preset("instant")
TICKS = (0, 1, 2, 3, 4, 10, 11, 30, 31, 32)  # of 1/25 s
STARTS = [tick / 25 for tick in (*TICKS, 33)]
EXACT_S = 0.0011  # Matroska counts in milliseconds


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_film(path, panoramas(len(TICKS), 64, 32), ticks=TICKS, bf="0", sound=("aac", "stereo"))


@pytest.fixture(scope="module")
def file(film: Path) -> Path:
    nerv360.encode(film, film.with_suffix(".nerv360"), INSTANT)
    return film.with_suffix(".nerv360")


def shown(path: Path) -> list[float]:
    """When the frames of a video are shown, in seconds."""
    with av.open(str(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_frames_are_the_pictures_at_their_times(tmp_path: Path, name: str) -> None:
    frames = panoramas(len(TICKS))
    clip = Clip.open(write_film(tmp_path / name, frames, ticks=TICKS, bf="0"))
    assert clip.remarks == ("variable frame rate: the times of its frames are kept",)
    assert clip.frame_rate == pytest.approx(len(TICKS) / STARTS[-1], rel=1e-3)
    read = list(clip)
    assert len(read) == len(TICKS)
    assert all(psnr(a, b) > 40 for a, b in zip(read, frames, strict=True))
    assert np.array_equal(read[6], next(iter(clip.cut(6, 1))))
    assert not survey(clip, shots=False).missing
    for part, starts in ((clip, STARTS), (clip.cut(3, 4), STARTS[3:8])):
        durations = part.durations
        assert durations is not None
        spans = [float(ticks * durations.tick_s) for ticks in durations.ticks]
        assert spans == pytest.approx([end - begin for begin, end in pairwise(starts)], abs=EXACT_S)
    assert clip.middles()[4:6] == pytest.approx([7 / 25, 10.5 / 25], abs=EXACT_S)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_decoded_frames_have_the_times_of_the_source(film: Path, file: Path, tmp_path: Path, name: str) -> None:
    nerv360.decode(file, tmp_path / name, None)
    assert shown(tmp_path / name) == pytest.approx(STARTS[:-1], abs=EXACT_S + 0.022)  # behind sound that comes before
    zero = shown(tmp_path / name)[0]
    assert [time - zero for time in shown(tmp_path / name)] == pytest.approx(STARTS[:-1], abs=EXACT_S)
    source = [data for time, data in packets_of(film) if time < STARTS[-1]]
    assert [data for _, data in packets_of(tmp_path / name)] == source
    view = nerv360.Viewport(width=32, height=24)
    nerv360.decode(file, tmp_path / f"part-{name}", view, frames=range(5, 8), audio=False)
    assert shown(tmp_path / f"part-{name}") == pytest.approx([0, 1 / 25, 20 / 25], abs=EXACT_S)


def test_segments_join_to_the_same_times(film: Path, file: Path, tmp_path: Path) -> None:
    joined = tmp_path / "film.nerv360"
    assert not encode_plans([plan(Request(film, joined), INSTANT, 0.5)], run_in_process)[0].reason
    with Container(joined) as container, Container(file) as whole:
        assert len(container.segments) > 1
        frames = range(len(TICKS))
        assert container.timeline.durations(frames) == whole.timeline.durations(frames)
        assert container.header.frame_rate == whole.header.frame_rate
        assert [float(container.timeline.start_s(frame)) for frame in range(len(TICKS) + 1)] == pytest.approx(STARTS)
        about = manifest(container, server=None, decoders=["motion"], networks=[])
    assert about["frameStarts"] == pytest.approx(STARTS)
    header, _ = reference_decoder.read_container(joined.read_bytes())
    assert reference_decoder.frame_starts(header) == pytest.approx(STARTS)
    found = reference_decoder.read_sound(joined.read_bytes())
    assert [data for _, data in found] == [data for time, data in packets_of(film) if time < STARTS[-1]]
    assert [time for time, _ in found] == pytest.approx([time for time, _ in packets_of(film)][: len(found)], abs=1e-4)


def packed(*ticks: int) -> bytes:
    return zlib.compress(np.array(ticks, "<u4").tobytes())


COUNT = len(TICKS)


@pytest.mark.parametrize(
    "times",
    [
        [1, 5, packed(*[1] * (COUNT - 1))],
        [1, 5, packed(*[1] * (COUNT + 1))],
        [1, 5, packed(*[1] * (COUNT - 1), 0)],
        [1, 5, packed(*[1] * COUNT) + b"\0"],
        [1, 5, packed(*[1] * COUNT)[:-1]],
        [1, 5, b"no zlib"],
        [1, 5, zlib.compress(b"\1" * (1 << 23))],
        [1, 5, b""],
        [0, 25, packed(*[1] * COUNT)],
        [1, 0, packed(*[1] * COUNT)],
        [1, 2**32, packed(*[1] * COUNT)],
        [1, 5, "text"],
        [1, 5],
        5,
    ],
    ids=range(14),
)
def test_impossible_times_are_refused(file: Path, tmp_path: Path, times: object) -> None:
    def forged(values: object) -> Path:
        data = file.read_bytes()
        length = PREAMBLE.unpack(data[:18])[2]
        header: list[Any] = msgspec.msgpack.decode(data[18 : 18 + length])
        header[8] = values
        head = msgspec.msgpack.encode(header)
        path = tmp_path / "forged.nerv360"
        path.write_bytes(PREAMBLE.pack(MAGIC, VERSION, len(head), crc32(head)) + head + data[18 + length :])
        return path

    Container(forged([1, 5, packed(*[1] * COUNT)])).close()
    with pytest.raises(BitstreamError, match="impossible") as caught:
        Container(forged(times))
    assert "\n" not in str(caught.value)
