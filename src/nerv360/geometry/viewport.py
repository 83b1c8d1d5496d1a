"""A perspective view of the sphere: where it looks, how wide it sees; and paths of views. No torch in here."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nerv360.errors import ArgumentError
from nerv360.storage import open_text

__all__ = [
    "JVET_HFOV_DEG",
    "JVET_TRAJECTORIES",
    "MAX_SIDE",
    "Viewport",
    "dynamic_viewports",
    "linear_trajectory",
    "read_trajectory",
]

MAX_SIDE = 16384
LEAST_FOV_DEG = 0.001
JVET_HFOV_DEG = 78.1  # JVET common test conditions, and Sec. III-A of the paper

# JVET common test conditions, dynamic viewports VP0 and VP1: (yaw, pitch) in degrees, at the first and last frame
JVET_TRAJECTORIES = {
    "Balboa": (((-4, 3), (86, 33)), ((-116, -24), (-26, 6))),
    "BranCastle": (((116, -15), (206, 15)), ((-145, 0), (-55, 30))),
    "Broadway": (((50, -20), (140, 10)), ((-111, -41), (-21, -11))),
    "Landing": (((-45, 0), (45, 30)), ((-225, 0), (-135, 30))),
}


@dataclass(frozen=True)
class Viewport:
    """A perspective (rectilinear) view. Angles are degrees, sizes are pixels.

    yaw_deg > 0 looks right, pitch_deg > 0 looks up, roll_deg > 0 turns the camera clockwise.
    The fields of view span the picture's outer edges. Without vfov_deg the pixels are square.

    Raises ArgumentError where a value is out of range or not finite.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    hfov_deg: float = JVET_HFOV_DEG
    vfov_deg: float | None = None
    width: int = 1920
    height: int = 1080

    def __post_init__(self) -> None:
        for name in ("yaw_deg", "pitch_deg", "roll_deg"):
            if not math.isfinite(getattr(self, name)):
                raise ArgumentError(f"viewport.{name}={getattr(self, name)}: must be a finite number of degrees")
        if not -90 <= self.pitch_deg <= 90:
            raise ArgumentError(f"viewport.pitch_deg={self.pitch_deg:g}: must be in [-90, 90]")
        for name in ("hfov_deg", "vfov_deg"):
            fov = getattr(self, name)
            if fov is not None and not LEAST_FOV_DEG <= fov < 180:
                raise ArgumentError(f"viewport.{name}={fov:g}: must be in [{LEAST_FOV_DEG}, 180)")
        for name in ("width", "height"):
            if not 1 <= getattr(self, name) <= MAX_SIDE:
                raise ArgumentError(f"viewport.{name}={getattr(self, name)}: must be in 1..{MAX_SIDE} pixels")

    @property
    def focal(self) -> tuple[float, float]:
        """Focal lengths (fx, fy) in pixels."""
        fx = self.width / 2 / math.tan(math.radians(self.hfov_deg) / 2)
        if self.vfov_deg is None:
            return fx, fx
        return fx, self.height / 2 / math.tan(math.radians(self.vfov_deg) / 2)

    @property
    def share(self) -> float:
        """The part of the sphere that the view shows."""
        across, up = (
            math.sin(math.atan(size / 2 / focal))
            for size, focal in zip((self.width, self.height), self.focal, strict=True)
        )
        return math.asin(across * up) / math.pi

    def resized(self, width: int, height: int) -> "Viewport":
        """The same field of view on another number of pixels."""
        _, fy = self.focal
        vfov_deg = math.degrees(2 * math.atan(self.height / 2 / fy))
        return replace(self, width=width, height=height, vfov_deg=vfov_deg)


def linear_trajectory(
    view: Viewport, frames: int, start_deg: tuple[float, float], end_deg: tuple[float, float]
) -> list[Viewport]:
    """JVET dynamic viewport: (yaw, pitch) move linearly from the first frame to the last, never wrapped."""
    path = []
    for index in range(frames):
        part = index / (frames - 1) if frames > 1 else 0.0
        yaw, pitch = (a + (b - a) * part for a, b in zip(start_deg, end_deg, strict=True))
        path.append(replace(view, yaw_deg=yaw, pitch_deg=pitch))
    return path


def dynamic_viewports(look: Viewport, frames: int, video: str = "") -> dict[str, list[Viewport]]:
    """VP0 and VP1 of JVET, at the size and field of view of `look`, scaled to this number of frames.

    They are those of the sequence whose name is in that of the video; of Balboa for any other.
    """
    sequence = next((name for name in JVET_TRAJECTORIES if name.lower() in video.lower()), "Balboa")
    return {
        f"VP{k}": linear_trajectory(look, frames, start, end)
        for k, (start, end) in enumerate(JVET_TRAJECTORIES[sequence])
    }


def read_trajectory(path: Path, view: Viewport) -> list[Viewport]:
    """One viewport per row of a CSV file with a header: yaw_deg, pitch_deg and, as wished, roll_deg, hfov_deg.

    Raises ArgumentError that names the line where a value is missing, not a number, or out of range.
    """
    try:
        with open_text(path, encoding="utf-8-sig") as file:
            return list(_trajectory_rows(csv.DictReader(file), path, view))
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise ArgumentError(f"{path}: not a CSV text file") from None


def _trajectory_rows(rows: "csv.DictReader[str]", path: Path, view: Viewport) -> Iterable[Viewport]:
    known = {"yaw_deg", "pitch_deg", "roll_deg", "hfov_deg"}
    names = [name for name in rows.fieldnames or [] if name in known]
    if not {"yaw_deg", "pitch_deg"} <= set(names):
        raise ArgumentError(f"{path}: the first line must name the columns yaw_deg and pitch_deg")
    empty = True
    for row in rows:
        try:
            angles: dict[str, Any] = {name: float(row[name]) for name in names}
            yield replace(view, **angles)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{path} line {rows.line_num}: {error}") from None
        empty = False
    if empty:
        raise ArgumentError(f"{path}: no rows after the header")
