"""What files say of their pictures is done: turned, made square, cropped, deinterlaced, tone-mapped, converted."""

import io
import math
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.films import panoramas, spherical_box, stereo_box, write_film

from nerv360.errors import ArgumentError, VideoError
from nerv360.quality import psnr
from nerv360.types import BT709, Picture
from nerv360.video.clip import Clip
from nerv360.video.filters import filtered
from nerv360.video.reading import Layout
from nerv360.video.spherical import V1, add_boxes, box, movie_box
from nerv360.video.tags import Spherical


def first_of(clip: Clip) -> Picture:
    return next(iter(clip))


def written(path: Path, picture: Picture, aspect: Fraction = Fraction(1), **traits: object) -> Path:
    """Two frames of one picture, whose pixels have that shape."""

    def prepare(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = aspect
        if "matrix" in traits:
            stream.set_display_matrix(traits["matrix"])  # type: ignore[arg-type]

    return write_film(path, [picture] * 2, prepare=prepare, sample_entry=traits.get("entry", b""))  # type: ignore[arg-type]


TURNS: dict[tuple[int, int, int, int], Callable[[Picture], Picture]] = {
    (0, 1, -1, 0): lambda picture: np.rot90(picture),  # what is stored, of what is shown
    (-1, 0, 0, -1): lambda picture: np.rot90(picture, 2),
    (0, -1, 1, 0): lambda picture: np.rot90(picture, -1),
    (-1, 0, 0, 1): lambda picture: picture[:, ::-1],
    (1, 0, 0, -1): lambda picture: picture[::-1],
    (0, 1, 1, 0): lambda picture: picture.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda picture: np.rot90(picture, 2).transpose(1, 0, 2),
}


@pytest.mark.parametrize("matrix", TURNS)
def test_pictures_are_turned_as_players_turn_them(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    (picture,) = panoramas(1)
    a, b, c, d = (entry << 16 for entry in matrix)
    path = written(tmp_path / "a.mp4", TURNS[matrix](picture), matrix=(a, b, 0, c, d, 0, 0, 0, 1 << 30))
    clip = Clip.open(path)
    assert psnr(first_of(clip), picture) > 40
    assert "display matrix" in clip.reading.remarks[0]


def test_a_turn_by_another_angle_is_refused(tmp_path: Path) -> None:
    (picture,) = panoramas(1)
    slanted = round(math.sqrt(0.5) * 65536)
    path = written(tmp_path / "a.mp4", picture, matrix=(slanted, slanted, 0, -slanted, slanted, 0, 0, 0, 1 << 30))
    with pytest.raises(VideoError, match=r"a\.mp4: is shown turned by an angle"):
        Clip.open(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_the_shape_of_pixels_is_that_of_the_file(tmp_path: Path, name: str) -> None:
    (picture,) = panoramas(1)
    clip = Clip.open(written(tmp_path / name, picture[:, ::2], Fraction(2)))
    assert first_of(clip).shape == (80, 160, 3)
    clip = Clip.open(written(tmp_path / name, picture[::2], Fraction(1, 2)))
    assert first_of(clip).shape == (80, 160, 3)
    with pytest.raises(VideoError, match=r"320x80 is not 2:1.*--eye both"):
        Clip.open(written(tmp_path / name, picture, Fraction(2)))


def test_a_squeezed_panorama_is_refused_with_the_size_that_takes_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", panoramas(1, 256, 144)[0])
    with pytest.raises(VideoError, match=r"256x144 is not 2:1.*squeezed to 16:9, --size 256x128"):
        Clip.open(path)
    assert first_of(Clip.open(path, size=(256, 128))).shape == (128, 256, 3)


EYES = panoramas(2)
STEREO = {  # mode of st3d, --stereo, pictures of both eyes as stored
    "top-bottom": (1, np.concatenate(EYES)),
    "left-right": (2, np.concatenate(EYES, axis=1)),
    "right-left": (4, np.concatenate(EYES[::-1], axis=1)),
}


@pytest.mark.parametrize("name", STEREO)
@pytest.mark.parametrize("half", [False, True])
def test_one_eye_of_two_is_taken(tmp_path: Path, name: str, half: bool) -> None:
    """Each eye as a whole panorama, or at half the resolution, so that both make a picture of 2:1."""
    mode, stored = STEREO[name]
    if half:
        stored = stored[::2] if name == "top-bottom" else stored[:, ::2]
    path = written(tmp_path / "a.mp4", stored, entry=stereo_box(mode))
    with pytest.raises(VideoError, match=r"holds two eyes.*--eye left"):
        Clip.open(path)
    for eye, picture in zip(("left", "right"), EYES, strict=True):
        clip = Clip.open(path, layout=Layout(eye=eye))
        other = EYES[eye == "left"]
        assert (clip.width, clip.height) == (160, 80)
        assert psnr(first_of(clip), picture) > (25 if half else 40)
        assert psnr(first_of(clip), picture) > psnr(first_of(clip), other) + 3
        assert clip.reading.remarks == (
            f"stereo ({name.replace('right-left', 'left-right')}): the {eye} eye alone is encoded",
        )
    assert Clip.open(path, layout=Layout(stereo="mono"), force=True).width == stored.shape[1]


def test_eyes_without_a_tag_are_taken_by_their_shape_or_by_the_option(tmp_path: Path) -> None:
    _, stored = STEREO["top-bottom"]
    path = written(tmp_path / "a.mp4", stored)
    with pytest.raises(VideoError, match=r"160x160 is not 2:1.*one above the other, --eye both"):
        Clip.open(path)
    with pytest.raises(VideoError, match="--eye both"):
        Clip.open(path, size=(160, 80))  # both eyes would be squashed into one
    assert psnr(first_of(Clip.open(path, layout=Layout(eye="right"))), EYES[1]) > 40
    path = written(tmp_path / "b.mp4", stored[::2])
    with pytest.raises(ArgumentError, match=r"--eye left: .*b\.mp4 is not tagged as stereo; .*--stereo"):
        Clip.open(path, layout=Layout(eye="left"))
    assert psnr(first_of(Clip.open(path, layout=Layout(stereo="top-bottom", eye="right"))), EYES[1]) > 25
    with pytest.raises(ArgumentError, match="--eye middle: must be left, right, both"):
        Layout(eye="middle")


@pytest.mark.parametrize(
    ("projection", "stored_as", "tag", "dB"),
    [
        ("cubemap", "v360=e:c3x2:w=360:h=240", spherical_box(b"cbmp"), 30),
        ("cubemap", "v360=e:c3x2:w=360:h=240", b"", 30),
        ("eac", "v360=e:eac:w=360:h=240", b"", 30),
        ("dual-fisheye", "v360=e:dfisheye:w=480:h=240:h_fov=190:v_fov=190", b"", 27),
    ],
)
def test_other_projections_become_equirectangular(
    tmp_path: Path, projection: str, stored_as: str, tag: bytes, dB: float
) -> None:
    (picture,) = panoramas(1, 480, 240)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    stored = filtered(frame, (stored_as,)).to_ndarray(format="rgb24")
    path = written(tmp_path / "a.mp4", stored, entry=tag)
    clip = Clip.open(path, layout=Layout(None if tag else projection))
    assert (clip.width, clip.height) == (480, 240)
    assert psnr(first_of(clip), picture) > dB
    assert f"{projection}: converted to equirectangular" in clip.reading.remarks[0]
    as_it_is = Clip.open(path, layout=Layout("equirect"), force=True)
    assert psnr(first_of(as_it_is), stored) > 40


def test_the_pose_of_the_camera_is_undone(tmp_path: Path) -> None:
    """A direction of the camera is R_yaw(left) R_pitch(up) R_roll(right side up) of it in the world."""
    yaw, pitch, roll = 30.0, 20.0, 10.0
    width, height = 360, 180
    for longitude, latitude in ((0, 0), (60, 10), (-100, -20), (170, 40)):
        picture = np.zeros((height, width, 3), dtype=np.uint8)
        picture[90 - latitude - 3 : 90 - latitude + 3, 180 + longitude - 3 : 180 + longitude + 3] = 255
        path = written(tmp_path / "a.mp4", picture, entry=spherical_box(pose_deg=(yaw, pitch, roll)))
        clip = Clip.open(path)
        shown = first_of(clip)[..., 1].astype(float)
        y, x = np.mgrid[:height, :width] + 0.5
        found = np.tensordot(shown, direction(x - 180, 90 - y), axes=((0, 1), (1, 2)))
        expected = turned(direction(np.array(longitude), np.array(latitude)), yaw, pitch, roll)
        assert found @ expected / np.linalg.norm(found) > math.cos(math.radians(1))
        assert "pose" in clip.reading.remarks[0]


def direction(longitude_deg: np.ndarray, latitude_deg: np.ndarray) -> np.ndarray:
    """x right, y up, z forward."""
    lon, lat = np.radians(longitude_deg), np.radians(latitude_deg)
    return np.stack((np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)))


def turned(vector: np.ndarray, yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    x, y, z = vector
    c, s = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    x, y = c * x - s * y, s * x + c * y
    c, s = math.cos(math.radians(pitch_deg)), math.sin(math.radians(pitch_deg))
    y, z = c * y + s * z, c * z - s * y
    c, s = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    return np.array([c * x - s * z, y, s * x + c * z])


def test_a_part_of_the_sphere_lies_where_its_bounds_say(tmp_path: Path) -> None:
    picture = np.full((80, 80, 3), 255, dtype=np.uint8)
    clip = Clip.open(written(tmp_path / "a.mp4", picture, entry=spherical_box(bounds=(0, 0, 0.125, 0.375))))
    shown = first_of(clip)
    assert shown.shape == (80, 160, 3)
    assert shown[:, 22:98].min() > 250
    assert max(shown[:, :18].max(), shown[:, 102:].max()) < 5


def test_what_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    (picture,) = panoramas(1)
    with pytest.raises(VideoError, match=r"a\.mp4: holds mesh pictures, which are not read; .*--projection"):
        Clip.open(written(tmp_path / "a.mp4", picture, entry=spherical_box(b"mshp")))
    with pytest.raises(VideoError, match="one mesh for each eye"):
        Clip.open(written(tmp_path / "b.mp4", picture, entry=stereo_box(3)))
    with av.open(str(tmp_path / "c.mp4"), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 240, 80, "yuv420p"
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame(240, 80, "yuv420p")))
            container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"two streams \(GoPro\).*vstack"):
        Clip.open(tmp_path / "c.mp4")


def test_boxes_without_end_or_sense_are_passed_over() -> None:
    movie = box(b"moov", b"tracks")
    assert movie_box(io.BytesIO(box(b"ftyp", b"mp42") + movie)) == movie
    long_size = struct.pack(">I4sQ", 1, b"mdat", 20) + bytes(4)
    assert movie_box(io.BytesIO(long_size + movie)) == movie
    for data in (b"", b"moov", bytes(100), box(b"free", b"") * 10_000 + movie, struct.pack(">I4s", 1 << 30, b"moov")):
        assert movie_box(io.BytesIO(data)) == b""


def test_the_old_metadata_tell_of_a_part_and_their_initial_view_is_no_pose(tmp_path: Path) -> None:
    values = {"Spherical": "true", "ProjectionType": "equirectangular", "InitialViewHeadingDegrees": 90}
    values |= {"FullPanoWidthPixels": 160, "FullPanoHeightPixels": 80, "CroppedAreaLeftPixels": 20}
    values |= {"CroppedAreaTopPixels": 0, "CroppedAreaImageWidthPixels": 80, "CroppedAreaImageHeightPixels": 80}
    xml = "".join(f"<GSpherical:{name}>{value}</GSpherical:{name}>" for name, value in values.items())
    path = written(tmp_path / "a.mp4", np.full((80, 80, 3), 255, dtype=np.uint8))
    add_boxes(path, b"", box(b"uuid", V1.bytes + f"<rdf:SphericalVideo>{xml}</rdf:SphericalVideo>".encode()))
    clip = Clip.open(path)
    assert clip.tags.spherical == Spherical("equirect", bounds=(0.125, 0, 0.375, 0))
    assert first_of(clip)[:, 22:98].min() > 250


def test_a_tagged_equirectangular_panorama_is_left_alone(tmp_path: Path) -> None:
    clip = Clip.open(written(tmp_path / "a.mp4", panoramas(1)[0], entry=spherical_box() + stereo_box(0)))
    assert not any(clip.reading.filters)
    assert not clip.reading.remarks


def test_interlaced_pictures_are_deinterlaced(tmp_path: Path) -> None:
    """Fields of two times, between which the picture has moved, do not stay as teeth of a comb; the odd are first."""
    frames = panoramas(12, 320, 160)
    woven = [
        np.where(np.arange(160)[:, None, None] % 2, early, late)
        for early, late in zip(frames[::2], frames[1::2], strict=True)
    ]
    path = write_film(tmp_path / "a.mp4", woven, flags="+ilme+ildct")

    def teeth(picture: Picture) -> float:
        rows = picture.astype(float)
        return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())

    clip = Clip.open(path)
    assert clip.reading.remarks == ("interlaced: deinterlaced (bwdif)",)
    shown = list(clip)
    assert len(shown) == 6
    assert teeth(woven[3]) > 2 * teeth(frames[6])
    assert teeth(shown[3]) < 1.2 * teeth(frames[6])
    assert psnr(shown[3], frames[6]) > psnr(woven[3], frames[6]) + 3
    assert all(np.array_equal(a, b) for a, b in zip(clip.read(2, 4), shown[2:4], strict=True))


def test_hdr_is_tone_mapped(tmp_path: Path) -> None:
    """Shadows are darker than their code says, lights keep their order, and grey stays grey."""
    grey = np.repeat(np.linspace(0, 255, 160).astype(np.uint8)[None, :, None], 80, axis=0).repeat(3, axis=2)

    def prepare(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, 16, 9

    path = write_film(tmp_path / "a.mkv", [grey], "ffv1", pixel_format="yuv420p10le", prepare=prepare)
    clip = Clip.open(path)
    assert clip.reading.remarks == ("HDR (PQ): converted to SDR of BT.709",)
    assert clip.colour == BT709
    row = first_of(clip)[40].astype(int)
    assert np.ptp(row, axis=1).max() <= 3
    assert (np.diff(row[:, 1]) >= -1).all()
    stored = grey[0, :, 1].astype(int)
    shadows = (stored > 20) & (stored < 80)
    assert (row[shadows, 1] < 0.75 * stored[shadows]).all()
    assert row[round(0.58 * 159), 1] > 150  # 203 nits, diffuse white; 153
    assert row[-1, 1] > 250
