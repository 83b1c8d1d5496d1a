"""Reading and writing: exact frames, colours, odd sizes, whole files only."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from nerv360.errors import ArgumentError, OutputError, VideoError
from nerv360.quality import psnr
from nerv360.types import BT709, UNSPECIFIED_COLOUR, Colour
from nerv360.video.clip import Clip
from nerv360.video.tags import Spherical
from nerv360.video.writer import encode_video, write_frames

Make = Callable[..., Path]


def test_start_and_frames_choose_exactly_these_frames(make_video: Make) -> None:
    path = make_video(frames=9)
    everything = list(Clip.open(path))
    part = list(Clip.open(path, start=3, frames=4))
    assert len(everything) == 9
    assert len(part) == 4
    assert all(np.array_equal(a, b) for a, b in zip(everything[3:7], part, strict=True))


@pytest.mark.parametrize("matrix", [1, 6, 9, 2])
def test_colours_survive_the_way_to_a_file_and_back(tmp_path: Path, matrix: int) -> None:
    bars = np.zeros((48, 96, 3), dtype=np.uint8)
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 220), (30, 30, 30), (200, 200, 40)]
    for number, colour in enumerate(colours):
        bars[:, 16 * number : 16 * number + 16] = colour
    write_frames(tmp_path / "a.mp4", [bars], Fraction(24), Colour(1, 1, matrix, False))
    clip = Clip.open(tmp_path / "a.mp4")
    read = next(iter(clip))
    assert clip.colour.matrix == (1 if matrix == 2 else 5 if matrix == 6 else matrix)
    assert not clip.colour.full_range
    for number, colour in enumerate(colours):
        assert np.abs(read[24, 16 * number + 8].astype(int) - colour).max() <= 4


def test_no_column_of_colours_is_dropped(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :128] / 64 * np.pi
    smooth = (np.sin(2 * x) * np.sin(y), np.cos(3 * x), np.sin(2 * y))
    picture = (128 + 95 * np.stack(smooth, axis=-1)).round().astype(np.uint8)
    encode_video(tmp_path / "a.mkv", [picture], Fraction(24), Colour(1, 1, 1, False), "ffv1", {})
    assert psnr(next(iter(Clip.open(tmp_path / "a.mkv"))), picture) > 49  # 50.2; 36.2 without every other column


def test_scaling_and_frame_rate(make_video: Make) -> None:
    clip = Clip.open(make_video(), size=(96, 48))
    assert next(iter(clip)).shape == (48, 96, 3)
    assert clip.frame_rate == Fraction(30000, 1001)


def test_a_single_frame_and_odd_sizes_work(make_video: Make) -> None:
    clip = Clip.open(make_video(width=161, height=81, frames=1))
    assert (clip.width, clip.height, clip.frames) == (161, 81, 1)


def test_not_two_to_one_is_named(make_video: Make) -> None:
    path = make_video(width=120, height=80)
    with pytest.raises(VideoError, match=r"120x80 is not 2:1.*--size.*--force"):
        Clip.open(path)
    assert Clip.open(path, force=True).width == 120
    assert Clip.open(path, size=(160, 80)).width == 160


def test_a_video_without_a_video_stream(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no video stream"):
        Clip.open(path)


def test_damaged_videos(make_video: Make, tmp_path: Path) -> None:
    data = make_video().read_bytes()
    for name, content in (
        ("empty.mp4", b""),
        ("text.mp4", b"hello world" * 50),
        ("cut.mp4", data[: len(data) // 2]),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(VideoError, match=name):
            list(Clip.open(path))


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("2026-11-29T12:30.mp4")
    write_frames(path, [np.zeros((32, 64, 3), np.uint8)], Fraction(25), UNSPECIFIED_COLOUR)
    assert Clip.open(path).frames == 1


def test_frames_beyond_the_end(make_video: Make) -> None:
    with pytest.raises(VideoError, match=r"has 6 frames \(0..5\)"):
        Clip.open(make_video(), start=6)
    with pytest.raises(VideoError, match="has 6 frames"):
        Clip.open(make_video(), start=2, frames=5)


def test_kinds_of_output(tmp_path: Path) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 17, 33, 3), dtype=np.uint8))
    rate, colour = Fraction(25), UNSPECIFIED_COLOUR
    write_frames(tmp_path / "raw.rgb", frames, rate, colour)
    assert (tmp_path / "raw.rgb").read_bytes() == b"".join(frame.tobytes() for frame in frames)
    write_frames(tmp_path / "pictures", frames, rate, colour)
    for number, frame in enumerate(frames):
        assert np.array_equal(np.array(Image.open(tmp_path / "pictures" / f"{number:06d}.png")), frame)
    write_frames(tmp_path / "one.png", frames[:1], rate, colour)
    write_frames(tmp_path / "odd.mp4", frames, rate, colour)
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert [(f.width, f.height) for f in container.decode(video=0)] == [(33, 17)] * 3
    with pytest.raises(ArgumentError, match="holds one frame"):
        write_frames(tmp_path / "many.png", frames, rate, colour)
    with pytest.raises(ArgumentError, match="must end in"):
        write_frames(tmp_path / "a.gif", frames, rate, colour)
    with pytest.raises(OutputError, match="not empty"):
        write_frames(tmp_path / "pictures", frames, rate, colour)
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_panoramas_are_tagged_for_players(tmp_path: Path) -> None:
    """By both versions of the metadata: V2 in the sample entry, where FFmpeg finds it, V1 in the track."""
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 64, 128, 3), dtype=np.uint8))
    for name, panoramas in (("a.mp4", True), ("a.mov", True), ("b.mp4", False)):
        write_frames(tmp_path / name, frames, Fraction(25), BT709, panoramas=panoramas)
        clip = Clip.open(tmp_path / name)
        assert clip.tags.spherical == (Spherical("equirect") if panoramas else None)
        assert len(list(clip)) == 3
        assert (b"<GSpherical:Spherical>true" in (tmp_path / name).read_bytes()) == panoramas


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> object:
        yield np.zeros((16, 16, 3), dtype=np.uint8)
        raise OSError(28, "No space left on device")

    for name in ("a.mp4", "b.rgb", "c"):
        with pytest.raises(OutputError, match="No space left"):
            write_frames(tmp_path / name, failing(), Fraction(25), UNSPECIFIED_COLOUR)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
