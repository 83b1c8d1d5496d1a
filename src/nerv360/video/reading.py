"""How the pictures of a file become panoramas: filters that turn, crop and convert, in this order."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import starmap

from nerv360.errors import ArgumentError, VideoError
from nerv360.storage import Location
from nerv360.types import BT709, EYES, Colour
from nerv360.video.tags import Spherical, Tags

__all__ = ["AS_TAGGED", "BOTH", "EYE_NAMES", "PROJECTIONS", "STEREO", "Layout", "Reading", "plan_reading"]

PROJECTIONS = ("equirect", "eac", "cubemap", "dual-fisheye")
STEREO = ("mono", "top-bottom", "left-right")
BOTH = "both"
EYE_NAMES = (*EYES, BOTH)
TURNS = {  # display matrix -> filters, and how the picture is turned
    (1, 0, 0, 1): ((), ""),
    (0, 0, 0, 0): ((), ""),
    (-1, 0, 0, -1): (("hflip", "vflip"), "turned by 180 degrees"),
    (0, 1, -1, 0): (("transpose=clock",), "turned by 90 degrees"),
    (0, -1, 1, 0): (("transpose=cclock",), "turned by 270 degrees"),
    (-1, 0, 0, 1): (("hflip",), "mirrored"),
    (1, 0, 0, -1): (("vflip",), "mirrored top to bottom"),
    (0, 1, 1, 0): (("transpose=cclock_flip",), "mirrored and turned"),
    (0, -1, -1, 0): (("transpose=clock_flip",), "mirrored and turned"),
}
HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}  # transfer characteristics, as code points of H.273
SDR = {1, 2, 6, 13, 14, 15}
BT2020, WIDE = 9, {9, 11, 12}  # colour primaries
TO_SDR = "scale=intent=perceptual:out_primaries=bt709:out_transfer=bt709"
V360 = {"eac": "eac", "cubemap": "c3x2", "dual-fisheye": "dfisheye", "equirect": "e"}
FISHEYE_DEG = 190  # field of view of each lens
MOST_CUBIC = 4096  # columns: cubic interpolation takes 100 bytes a pixel, linear 24
MOST_PADDING = 100  # of v360
MOST_PIXELS = 1 << 28  # of a panorama before it is scaled
SQUEEZED = Fraction(16, 9)
SHAPES_DIFFER = Fraction(1, 50)
CROP = "crop"  # where an eye is cut out, among filters
HALF_OF_GOPRO = (2.5, 3.5)  # width to height
ASIDE = "(--force takes the picture as it is)"


@dataclass(frozen=True)
class Layout:
    """How panoramas lie in the pictures of a file; None: as the file says.

    Of two eyes that one is taken, or both are, that `eye` names, or else `default_eye`; without either, none is.
    """

    projection: str | None = None
    stereo: str | None = None
    eye: str | None = None
    default_eye: str | None = None

    def __post_init__(self) -> None:
        known = {"projection": PROJECTIONS, "stereo": STEREO, "eye": EYE_NAMES}
        for name, values in known.items():
            if getattr(self, name) not in (None, *values):
                raise ArgumentError(f"--{name} {getattr(self, name)}: must be {', '.join(values)}")


AS_TAGGED = Layout()
REPROJECTING = {"crop", "pad", "v360"}


@dataclass(frozen=True)
class Reading:
    """What is done with every picture."""

    deinterlace: bool
    tone_map: bool
    filters: tuple[tuple[str, ...], ...]  # on RGB, of each eye
    width: int  # of an eye's panorama, in square pixels
    height: int
    colour: Colour
    remarks: tuple[str, ...]  # what of it the user should know
    eyes: tuple[str, ...]  # whose panoramas these are; the left one where there is but one

    @property
    def reprojects(self) -> bool:
        """Whether directions lie elsewhere in the panorama than in the picture that players show."""
        return any(each.partition("=")[0] in REPROJECTING for filters in self.filters for each in filters)


def plan_reading(
    path: Location, tags: Tags, layout: Layout, *, asked: tuple[int, int] | None = None, force: bool = False
) -> Reading:
    """Turn tags, and what the user says, into filters. `asked` is a size that the user wants.

    Raises VideoError where the pictures are no panoramas that can be made equirectangular, ArgumentError where an
    option does not fit them. With `force`, whatever is there is taken.
    """
    plan = _Plan(path, tags, layout, force)
    plan.convert_colours()
    plan.turn()
    plan.take_eye()
    plan.project()
    width, height = plan.square_pixels()
    if width * height > MOST_PIXELS:
        raise VideoError(f"{path}: makes a panorama of {width}x{height}, which is too large")
    if not force:
        _check_shape(path, width, height, asked)
    colour = BT709 if plan.tone_map else tags.colour
    deinterlace = ("interlaced: deinterlaced (bwdif)",) if tags.interlaced else ()
    remarks = (*deinterlace, *plan.remarks)
    return Reading(tags.interlaced, plan.tone_map, plan.chains(), width, height, colour, remarks, plan.eyes)


class _Plan:
    """Filters up to here, and what they make of the picture."""

    def __init__(self, path: Location, tags: Tags, layout: Layout, force: bool) -> None:
        self.path, self.tags, self.layout, self.force = path, tags, layout, force
        self.width, self.height, self.pixel_aspect = tags.width, tags.height, tags.pixel_aspect
        self.tone_map = False
        self.filters: list[str] = []
        self.eyes: tuple[str, ...] = EYES[:1]
        self.crops: dict[str, str] = {}  # of eyes, by which they are cut out
        self.remarks: list[str] = []

    @property
    def ratio(self) -> Fraction:
        """Width to height, as shown."""
        return self.width * self.pixel_aspect / self.height

    def chains(self) -> tuple[tuple[str, ...], ...]:
        """The filters of each eye."""
        return tuple(tuple(self.crops[eye] if each == CROP else each for each in self.filters) for eye in self.eyes)

    def square_pixels(self) -> tuple[int, int]:
        if self.pixel_aspect >= 1:
            return round(self.width * self.pixel_aspect), self.height
        return self.width, round(self.height / self.pixel_aspect)

    def convert_colours(self) -> None:
        colour = self.tags.colour
        name = HDR.get(colour.transfer)
        if name is None and colour.primaries == BT2020 and colour.transfer in SDR:
            name = "colours of BT.2020"
        if name is not None:
            self.tone_map = True
            known = colour.primaries in WIDE
            self.filters += [TO_SDR] if known else ["setparams=color_primaries=bt2020", TO_SDR]
            self.remarks.append(f"{name}: converted to SDR of BT.709")

    def turn(self) -> None:
        if self.tags.matrix not in TURNS:
            raise VideoError(
                f"{self.path}: is shown turned by an angle that is no multiple of 90 degrees (its display matrix)"
            )
        filters, remark = TURNS[self.tags.matrix]
        self.filters += filters
        if remark:
            self.remarks.append(f"{remark}, as its display matrix says")
        if any("transpose" in each for each in filters):
            self.width, self.height, self.pixel_aspect = self.height, self.width, 1 / self.pixel_aspect

    def take_eye(self) -> None:
        eye, stereo = self.layout.eye, self.layout.stereo or self.tags.stereo
        if stereo is None and eye is not None:
            stereo = "top-bottom" if _is(self.ratio, 1) else "left-right" if _is(self.ratio, 4) else None
        if stereo in (None, "mono"):
            if eye is not None:
                raise ArgumentError(
                    f"--eye {eye}: {self.path} is not tagged as stereo; say how its eyes lie by --stereo"
                )
            return
        if eye is None:
            if self.force:
                return
            eye = self.layout.default_eye
        if eye is None:
            raise VideoError(
                f"{self.path}: holds two eyes ({stereo}); one of them is taken: --eye left, or right {ASIDE}"
            )
        if stereo not in STEREO:
            raise VideoError(f"{self.path}: stereo of this kind ({stereo}) is not read {ASIDE}")
        self._cut_eyes(EYES if eye == BOTH else (eye,), above=stereo == "top-bottom")
        taken = "both eyes are encoded" if eye == BOTH else f"the {eye} eye alone is encoded"
        self.remarks.append(f"stereo ({stereo}): {taken}")

    def _cut_eyes(self, eyes: tuple[str, ...], above: bool) -> None:
        """Cut out eyes, of which one lies above the other, or beside it."""
        if above:
            self.height //= 2
        else:
            self.width //= 2
        right_first = self.layout.stereo is None and self.tags.right_eye_first
        for eye in eyes:
            second = (eye == "right") != right_first
            x, y = (0, self.height * second) if above else (self.width * second, 0)
            self.crops[eye] = f"crop={self.width}:{self.height}:{x}:{y}:exact=1"
        self.eyes = eyes
        self.filters.append(CROP)
        if above and _is(self.ratio, 4):
            self.pixel_aspect /= 2
        elif not above and _is(self.ratio, 1) and not any(self.spherical.bounds):
            self.pixel_aspect *= 2

    @property
    def spherical(self) -> Spherical:
        found = self.tags.spherical
        if self.layout.projection is not None or found is None:
            return Spherical(self.layout.projection or "equirect")
        return found

    def project(self) -> None:
        found = self.spherical
        if self.tags.twins and HALF_OF_GOPRO[0] < self.ratio < HALF_OF_GOPRO[1] and not self.force:
            raise VideoError(
                f"{self.path}: holds halves of EAC pictures in two streams (GoPro), which are not read; stack them "
                f"(ffmpeg -i FILE -filter_complex '[0:v:0][0:v:1]vstack' JOINED.mp4), then --projection eac {ASIDE}"
            )
        if found.projection not in V360 or found.padding > MOST_PADDING:
            if self.force:
                return
            raise VideoError(
                f"{self.path}: holds {found.projection} pictures, which are not read; convert it to equirectangular "
                f"first (ffmpeg's v360 filter), or name what it holds by --projection {ASIDE}"
            )
        if found.projection == "equirect":
            self._pad(found.bounds)
        else:
            self.width, self.pixel_aspect = 2 * self.height, Fraction(1)
            lenses = f", from lenses of {FISHEYE_DEG} degrees" if found.projection == "dual-fisheye" else ""
            self.remarks.append(f"{found.projection}: converted to equirectangular{lenses}; seams may be seen")
        pose = (found.yaw_deg, found.pitch_deg, found.roll_deg)
        if any(pose):
            yaw, pitch, roll = pose
            self.remarks.append(f"pose: turned by its yaw {yaw:g}, pitch {pitch:g}, roll {roll:g}, so that up is up")
        if any(pose) or found.projection != "equirect":
            self.filters.append(self._v360(found))

    def _v360(self, found: Spherical) -> str:
        interpolation = "cubic" if self.width <= MOST_CUBIC else "linear"
        options = {"input": V360[found.projection], "output": "e", "w": self.width, "h": self.height}
        options |= {"interp": interpolation, "fin_pad": found.padding, "rorder": "rpy"}
        angles = {"yaw": found.yaw_deg, "pitch": -found.pitch_deg, "roll": found.roll_deg}
        options |= {name: (angle + 180) % 360 - 180 for name, angle in angles.items()}
        if found.projection == "dual-fisheye":
            options |= {"ih_fov": FISHEYE_DEG, "iv_fov": FISHEYE_DEG}
        return "v360=" + ":".join(starmap("{}={}".format, options.items()))

    def _pad(self, bounds: tuple[float, float, float, float]) -> None:
        if not any(bounds):
            return
        left, top, right, bottom = bounds
        if not (left + right < 1 and top + bottom < 1):
            raise VideoError(f"{self.path}: is tagged as no part of the sphere at all ({ASIDE[1:-1]})")
        width, height = round(self.width / (1 - left - right)), round(self.height / (1 - top - bottom))
        self.filters.append(f"pad={width}:{height}:{round(left * width)}:{round(top * height)}")
        self.remarks.append("covers a part of the sphere; the rest is black")
        self.width, self.height = width, height


def _is(ratio: Fraction, whole: Fraction | int) -> bool:
    return abs(ratio / whole - 1) < SHAPES_DIFFER / 2


def _check_shape(path: Location, width: int, height: int, asked: tuple[int, int] | None) -> None:
    """Raises VideoError for what is not 2:1, with what can be done. Any shape but that of two eyes may be scaled."""
    ratio = Fraction(width, height)
    eyes = _is(ratio, 1) or _is(ratio, 4)
    if _is(ratio, 2) or (asked is not None and not eyes):
        return
    advice = "scale it with --size"
    if eyes:
        where = "one above the other" if _is(ratio, 1) else "side by side"
        advice = f"if it holds two eyes, {where}, --eye both takes them, --eye left or right one of them"
    elif _is(ratio, SQUEEZED):
        advice = f"if it is a panorama squeezed to 16:9, --size {width // 4 * 4}x{width // 4 * 2} makes it right"
    elif _is(ratio, Fraction(3, 2)):
        advice = "a cubemap is read by --projection cubemap, or eac; else scale it with --size"
    raise VideoError(
        f"{path}: {width}x{height} is not 2:1, so not a full equirectangular panorama; {advice} "
        "(encode and eval also go on with --force)"
    )
