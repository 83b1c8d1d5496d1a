"""The procedural walk for two eyes, to an MP4 file, the left one above the right: walk.py OUTPUT --size 384x192."""

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np

from nerv360.cli.options import parse_size
from nerv360.types import BT709, Picture
from nerv360.video import synthetic
from nerv360.video.writer import write_frames

STRIPS = 32  # of a panorama: each is seen from where the eye is when the head is turned that way
BETWEEN_EYES_M = 0.064
FRAMES = 64  # of the whole walk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", default="384x192")
    parser.add_argument("--frames", type=int, default=FRAMES)
    given = parser.parse_args()
    width, height = parse_size(given.size)
    frames = (np.concatenate([eye(index, side, width, height) for side in (-1, 1)]) for index in range(given.frames))
    write_frames(given.output, frames, Fraction(30), BT709, panoramas=True, eyes=2)


def eye(index: int, side: int, width: int, height: int) -> Picture:
    """The panorama of the left eye (-1) or the right (1)."""
    time, head = index / FRAMES, synthetic.camera
    directions = synthetic.unit_vectors(0, height, width, height).reshape(3, height, width)
    strips = []
    for columns in np.array_split(np.arange(width), STRIPS):
        middle, rotation = head(time)
        yaw = ((columns.mean() + 0.5) / width - 0.5) * 2 * np.pi
        aside = side * BETWEEN_EYES_M / 2 * np.array([np.cos(yaw), 0, -np.sin(yaw)], np.float32)
        place = (middle + rotation @ aside).astype(np.float32)
        things = [*synthetic.buildings(), *synthetic.balls(time)]
        things.sort(key=lambda thing, at=place: thing.radius - np.hypot(thing.x - at[0], thing.z - at[2]))
        synthetic.camera = lambda _, at=place, turned=rotation: (at, turned)
        try:
            rays = rotation @ directions[:, :, columns].reshape(3, -1)
            colour = synthetic.render_rays(rays, np.pi / height, time, things)
        finally:
            synthetic.camera = head
        strips.append((colour * 255 + 0.5).astype(np.uint8).T.reshape(height, -1, 3))
    return np.concatenate(strips, axis=1)


if __name__ == "__main__":
    main()
