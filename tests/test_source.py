"""Which stream of a file is read, and which of its frames can be."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from helpers.films import panoramas, write_film

from nerv360.errors import VideoError
from nerv360.quality import psnr
from nerv360.video.clip import Clip
from nerv360.video.shots import survey


def write_streams(path: Path, *sizes: tuple[int, int], dispositions: tuple[int, ...]) -> Path:
    """Streams of three frames, the first of them all black, the others white."""
    with av.open(str(path), "w") as container:
        codecs = ["png" if each == Disposition.attached_pic else "libx264" for each in dispositions]
        streams = [container.add_stream(codec, rate=25) for codec in codecs]
        for stream, (width, height), disposition in zip(streams, sizes, dispositions, strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "rgb24" if stream.name == "png" else "yuv420p"
            stream.disposition = disposition
        for number, stream in enumerate(streams):
            picture = np.full((stream.height, stream.width, 3), 255 * min(number, 1), dtype=np.uint8)
            for _ in range(1 if stream.name == "png" else 3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("sizes", "dispositions"),
    [
        (((96, 48), (160, 80)), (0, Disposition.default)),
        (((96, 48), (160, 80)), (0, 0)),
        (((96, 48), (160, 80)), (Disposition.default, Disposition.default)),
    ],
)
def test_the_default_stream_is_read_or_the_largest(
    tmp_path: Path, sizes: tuple[tuple[int, int], ...], dispositions: tuple[int, ...]
) -> None:
    clip = Clip.open(write_streams(tmp_path / "film.mkv", *sizes, dispositions=dispositions))
    assert (clip.width, clip.height) == (160, 80)
    assert next(iter(clip)).min() > 250


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    with_film = write_streams(tmp_path / "a.mp4", (320, 160), (96, 48), dispositions=(Disposition.attached_pic, 0))
    assert Clip.open(with_film).width == 96
    alone = write_streams(tmp_path / "b.mp4", (320, 160), dispositions=(Disposition.attached_pic,))
    with pytest.raises(VideoError, match=r"b\.mp4: no video stream in it, only a still picture"):
        Clip.open(alone)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HLS", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"),
        ("DASH", '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>\n'),
    ],
)
def test_playlists_are_named_and_nothing_of_them_is_opened(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "list"
    path.write_text(text)
    with av.logging.Capture() as told, pytest.raises(VideoError, match=f"is a {name} playlist.*ffmpeg"):
        Clip.open(path)
    assert not told


def test_frames_without_times_of_their_own_are_in_the_order_in_which_they_are_shown(tmp_path: Path) -> None:
    """AVI has no times of display; a bare stream has none at all."""
    frames = panoramas(12)
    for name in ("film.avi", "film.h264"):
        clip = Clip.open(write_film(tmp_path / name, frames, bf="2"))
        shown = list(clip)
        assert len(shown) == 12
        assert all(psnr(a, b) > 40 for a, b in zip(shown, frames, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(clip.cut(3, 5), shown[3:8], strict=True))


def test_pictures_that_are_hardly_late_are_frames_of_an_even_rate(tmp_path: Path) -> None:
    clip = Clip.open(write_film(tmp_path / "film.mp4", panoramas(8), ticks=(0, 1, 2, 3, 5, 6, 7, 8)))
    assert clip.frames == 8
    assert not clip.remarks


def test_hours_between_frames_are_closed(tmp_path: Path) -> None:
    clip = Clip.open(write_film(tmp_path / "film.mp4", panoramas(4), ticks=(0, 1, 2, 1_000_000), bf="0"))
    assert clip.frames == 4
    assert "times of frames have gaps" in clip.remarks[0]


def test_a_stream_that_begins_in_the_middle_begins_with_its_first_frame_that_can_be_decoded(tmp_path: Path) -> None:
    """And says which frames stand still, whether it is encoded as one segment or as many."""
    frames = panoramas(12)
    whole = write_film(tmp_path / "whole.ts", frames, g="6", bf="0", sc_threshold="0")
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.ts"), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number >= 2:
                packet.stream = copy
                target.mux(packet)
    clip = Clip.open(tmp_path / "cut.ts")
    shown = list(clip)
    assert len(shown) == 10
    assert all(psnr(picture, frames[6]) > 40 for picture in shown[:4])
    assert psnr(shown[9], frames[11]) > 40
    for shots in (False, True):
        (remark,) = survey(clip, shots=shots).remarks(clip)
        assert remark.endswith("cut.ts: damaged: frames 0-3 cannot be decoded; each repeats the one before it")


def test_pictures_of_another_size_are_shown_in_the_shape_of_the_first(tmp_path: Path) -> None:
    """Larger ones are scaled; those of another shape stand between black bars."""
    white = [np.full((80, 160, 3), 255, dtype=np.uint8)] * 3
    files = [white, [np.full((160, 320, 3), 255, dtype=np.uint8)] * 3, [np.full((80, 80, 3), 255, dtype=np.uint8)] * 3]
    stream = b"".join(
        write_film(tmp_path / f"{number}.h264", pictures).read_bytes() for number, pictures in enumerate(files)
    )
    (tmp_path / "film.h264").write_bytes(stream)
    clip = Clip.open(tmp_path / "film.h264")
    shown = list(clip)
    assert len(shown) == 9
    assert all(picture.shape == (80, 160, 3) for picture in shown)
    assert all(picture.min() > 250 for picture in shown[:6])
    for picture in shown[6:]:
        assert picture[:, 44:116].min() > 250
        assert max(picture[:, :36].max(), picture[:, 124:].max()) < 5
    (remark,) = survey(clip, shots=False).remarks(clip)
    assert "frames 3-8 have another size" in remark
