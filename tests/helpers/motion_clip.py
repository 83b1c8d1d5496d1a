"""Small files of nerv360-motion: a procedural clip, and forged headers."""

from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from nerv360.bitstream.container import MAGIC, OLDEST_VERSION, PREAMBLE, VERSION, write_container
from nerv360.bitstream.header import FileHeader, MotionHeader, SegmentEntry, pack
from nerv360.motion.encoder import GroupEncoder, Tuning
from nerv360.motion.keys import keys_of_groups
from nerv360.types import BT709, Picture
from nerv360.video.synthetic import render_frame

MODEL = "nerv360-motion"
STEPS = (96, 128, 160, 192)  # 1/16 of a grey level
WIDTH, HEIGHT = 300, 150  # whole tiles and nodes fit into neither
FORGED: list[tuple[dict[str, object], int, str]] = [  # fields, the file's version, what is said of it
    ({"model": "nerv360-later"}, VERSION, "nerv360-later, which this player does not know"),
    ({}, OLDEST_VERSION, "a segment of nerv360-motion in a file of version 5"),
    ({"interval": 0}, VERSION, "an interval of 0 frames"),
    ({"interval": 65}, VERSION, "an interval of 65 frames"),
    ({"groups": [4]}, VERSION, "its groups hold 4 frames, the segment has 5"),
    ({"groups": [0, 5]}, VERSION, "an impossible group"),
    ({"groups": []}, VERSION, "its groups hold 0 frames"),
    ({"steps": [96, 0, 96]}, VERSION, "an impossible step"),
    ({"steps": [96, 96]}, VERSION, "its keys have 3 levels, and 2 steps"),
    ({"chunks": [[1, 0]] * 4}, VERSION, "5 frames need as many chunks, the segment has 4"),
]


def clip_file(
    width: int, height: int, segments: list[tuple[int, ...]], interval: int = 4
) -> tuple[bytes, list[Picture]]:
    """Segments of groups of so many frames, and the panoramas of all frames as they are decoded."""
    parts, panoramas = [], []
    for groups in segments:
        header = MotionHeader(MODEL, 480, 320, (78.1, 78.1), interval, groups, STEPS, [])
        chunks, pictures = _encode(header, width, height, len(panoramas))
        parts.append((header, chunks))
        panoramas += pictures
    entries = [SegmentEntry(sum(groups), 1, 1, 0) for groups in segments]
    file_header = FileHeader(width, height, len(panoramas), 30000, 1001, BT709, entries)
    return write_container(file_header, iter(parts)), panoramas


def _encode(header: MotionHeader, width: int, height: int, first: int) -> tuple[list[bytes], list[Picture]]:
    """Chunks in the order of coding, and decoded pictures in that of frames."""
    chunks, pictures = [], {}
    for count in header.groups:
        frames = [render_frame(first + index, width=width, height=height, frames=64) for index in range(count)]
        for key, coded, decoded in GroupEncoder(np.stack(frames), {}).encode(Tuning(header.interval), header.steps):
            chunks.append(coded.data)
            pictures[first + key.frame] = decoded
        first += count
    return chunks, [pictures[frame] for frame in sorted(pictures)]


def forged_file(changes: dict[str, object], frames: int = 5, version: int = VERSION) -> bytes:
    """A file with right lengths and checksums, but with these fields in its segment's header."""
    values = {"model": MODEL, "view_width": 64, "view_height": 40, "hfov_deg": (78.1, 78.1), "interval": 2}
    values |= {"groups": [frames], "steps": STEPS, "chunks": [[1, 0]] * frames} | changes
    packed = msgspec.msgpack.encode(list(values.values()))
    body = packed + bytes(len(values["chunks"]))  # type: ignore[arg-type]
    entry = SegmentEntry(frames, len(body), len(packed), crc32(packed))
    header = pack(FileHeader(WIDTH, HEIGHT, frames, 25, 1, BT709, [entry]))
    return PREAMBLE.pack(MAGIC, version, len(header), crc32(header)) + header + body


def write_motion_vectors(folder: Path) -> dict[str, Any]:
    """A file of two segments, its panoramas, and what tests/web/motion.test.js is to find in them."""
    data, panoramas = clip_file(WIDTH, HEIGHT, [(9, 6), (7,)])
    (folder / "motion.nerv360").write_bytes(data)
    (folder / "motion.rgb").write_bytes(np.stack(panoramas).tobytes())
    forged = []
    for index, (changes, version, message) in enumerate(FORGED):
        (folder / f"forged{index}.nerv360").write_bytes(forged_file(changes, version=version))
        forged.append({"file": f"forged{index}.nerv360", "message": message})
    orders = [
        {
            "groups": groups,
            "interval": interval,
            "keys": [[key.frame, key.references, key.level] for key in keys_of_groups(groups, interval)],
        }
        for groups in ((1,), (2, 1, 3), (9,), (33, 4, 17), (100,))
        for interval in (1, 2, 8, 64)
    ]
    return {"width": WIDTH, "height": HEIGHT, "frames": len(panoramas), "orders": orders, "forged": forged}
