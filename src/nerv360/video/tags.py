"""What a file says of its pictures: shape of pixels, turns, fields, colours, eyes, projection."""

import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.sidedata.sidedata import SideDataContainer, Type

from nerv360.types import Colour
from nerv360.video.source import is_film

__all__ = ["Spherical", "Tags", "read_tags"]

FIXED_POINT = 1 << 16  # angles, and entries of a display matrix
WHOLE = 1 << 32  # of which bounds are parts
PROJECTION_BOX = re.compile(rb"sv3d.{4}svhd.{0,300}?proj.{4}prhd.{20}(....)", re.DOTALL)
STEREO_BOX = re.compile(rb"\0\0\0\x0dst3d\0{4}(.)", re.DOTALL)
STEREO_MODES = {3: "one mesh for each eye", 4: "left-right"}  # which FFmpeg does not know
RIGHT_LEFT = 4
V1_FIELD = re.compile(rb"<GSpherical:(\w+)>\s*(\d{1,6})\s*</")
PROJECTIONS = ("equirect", "cubemap", "equirect", "equirect", "rectilinear", "fisheye")
HALF = 3  # the position of the half of the sphere in front
IN_FRONT = (0.25, 0.0, 0.25, 0.0)
STEREO = (
    "mono",
    "left-right",
    "top-bottom",
    "frame sequence",
    "checkerboard",
    "quincunx",
    "line by line",
    "column by column",
)
RIGHT_EYE_FIRST = 1
PROGRESSIVE = (0, 1)  # unknown, and said to be: code points of FFmpeg's field order


@dataclass(frozen=True)
class Spherical:
    """How pictures lie on the sphere (Spherical Video V1 and V2)."""

    projection: str
    yaw_deg: float = 0.0  # the sphere turns left, ...
    pitch_deg: float = 0.0  # ... in front of the viewer up, ...
    roll_deg: float = 0.0  # ... and its right side up
    bounds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # parts of it beyond the left, top, right, bottom
    padding: int = 0  # pixels around each face of a cube


@dataclass(frozen=True)
class Tags:
    """What the file says of its pictures."""

    width: int  # as stored
    height: int
    pixel_aspect: Fraction
    matrix: tuple[int, int, int, int]  # a, b, c, d: shown are x' = a x + c y, y' = b x + d y, with y down
    interlaced: bool
    colour: Colour
    stereo: str | None
    right_eye_first: bool
    spherical: Spherical | None
    pixel_format: str  # as FFmpeg calls it
    twins: bool  # whether another stream has pictures of the same size


def read_tags(stream: av.VideoStream, first: av.VideoFrame, movie: bytes = b"") -> Tags:
    """What the stream, its first picture, and the moov box of an MP4 file say."""
    data = {each.type: bytes(each) for each in cast(SideDataContainer, first.side_data)}
    stereo, right_eye_first = _stereo(data.get(Type.STEREO3D), movie)
    return Tags(
        first.width,
        first.height,
        stream.sample_aspect_ratio or Fraction(1),
        _matrix(data.get(Type.DISPLAYMATRIX)),
        first.interlaced_frame or stream.codec_context.field_order not in PROGRESSIVE,
        Colour(int(first.color_primaries), int(first.color_trc), int(first.colorspace), int(first.color_range) == 2),
        stereo,
        right_eye_first,
        _spherical(data.get(Type.SPHERICAL), movie),
        first.format.name,
        sum(is_film(each) and each.width == stream.width for each in stream.container.streams.video) > 1,
    )


def _matrix(data: bytes | None) -> tuple[int, int, int, int]:
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = (round(entry / FIXED_POINT) for entry in struct.unpack_from("=5i", data))
    return a, b, c, d


def _stereo(data: bytes | None, movie: bytes) -> tuple[str | None, bool]:
    box = STEREO_BOX.search(movie)
    if box is not None and box[1][0] in STEREO_MODES:
        return STEREO_MODES[box[1][0]], box[1][0] == RIGHT_LEFT
    kind, flags = (len(STEREO), 0) if data is None else struct.unpack_from("=Ii", data)
    return STEREO[kind] if kind < len(STEREO) else None, bool(flags & RIGHT_EYE_FIRST)


def _spherical(data: bytes | None, movie: bytes) -> Spherical | None:
    box = PROJECTION_BOX.search(movie)
    if box is not None and box[1] == b"mshp":
        return Spherical("mesh")
    if box is None and b"<GSpherical:" in movie:
        return Spherical("equirect", bounds=_v1_bounds(movie))
    if data is None:
        return None
    projection, yaw, pitch, roll, *bounds, padding = struct.unpack_from("=I3i4II", data)
    if projection >= len(PROJECTIONS):
        return Spherical("unknown")
    left, top, right, bottom = IN_FRONT if projection == HALF else (bound / WHOLE for bound in bounds)
    yaw_deg, pitch_deg, roll_deg = (angle / FIXED_POINT for angle in (yaw, pitch, roll))
    return Spherical(PROJECTIONS[projection], yaw_deg, pitch_deg, roll_deg, (left, top, right, bottom), padding)


def _v1_bounds(movie: bytes) -> tuple[float, float, float, float]:
    """Of Spherical Video V1. Its initial view is no pose of the camera, though FFmpeg takes it for one."""
    fields = {name.decode(): int(value) for name, value in V1_FIELD.findall(movie)}
    width, height = fields.get("FullPanoWidthPixels", 0), fields.get("FullPanoHeightPixels", 0)
    if not (width and height):
        return 0.0, 0.0, 0.0, 0.0
    left, top = fields.get("CroppedAreaLeftPixels", 0), fields.get("CroppedAreaTopPixels", 0)
    right = width - left - fields.get("CroppedAreaImageWidthPixels", width - left)
    bottom = height - top - fields.get("CroppedAreaImageHeightPixels", height - top)
    return left / width, top / height, max(0, right) / width, max(0, bottom) / height
