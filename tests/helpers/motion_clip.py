"""Small files of nerv360-motion: a procedural clip, and forged headers."""

from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from helpers.films import other_eye
from nerv360.bitstream.container import MAGIC, OLDEST_VERSION, PREAMBLE, VERSION, write_container
from nerv360.bitstream.header import FileHeader, MotionHeader, SegmentEntry, pack
from nerv360.motion.encoder import GroupEncoder, Tuning
from nerv360.motion.keys import keys_of_groups
from nerv360.motion.sectors import write_chunks
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
    ({"chunks": [[1, 0]] * 4}, VERSION, "5 frames need 5 chunks, the segment has 4"),
    ({"inter_view_levels": 1, "chunks": [[1, 0]] * 10}, VERSION, "a segment of 2 eyes in a file of 1"),
    ({"inter_view_levels": 1}, VERSION, "5 frames need 10 chunks, the segment has 5"),
    ({"inter_view_levels": 17}, VERSION, "an impossible number of levels"),
    ({"inter_view_levels": None, "sector": 65}, VERSION, "an impossible size of sectors"),
    ({"inter_view_levels": None, "sector": 64}, VERSION, "5 frames need 15 chunks, the segment has 5"),
    ({"inter_view_levels": None, "sector": 64, "chunks": [[1, 0]] * 15}, 12, "with sectors in a file of version 12"),
]


def clip_file(
    width: int,
    height: int,
    segments: list[tuple[int, ...]],
    interval: int = 4,
    inter_view_levels: int | None = None,  # of a file of both eyes
    sector: int | None = None,
) -> tuple[bytes, list[Picture]]:
    """Segments of groups of so many frames, and the panoramas of all as they are decoded, of two eyes in turn."""
    parts, panoramas, frames = [], [], 0
    for groups in segments:
        header = MotionHeader(MODEL, 480, 320, (78.1, 78.1), interval, groups, STEPS, [], inter_view_levels, sector)
        chunks, pictures = _encode(header, width, height, frames)
        parts.append((header, chunks))
        panoramas += pictures
        frames += sum(groups)
    entries = [SegmentEntry(sum(groups), 1, 1, 0) for groups in segments]
    file_header = FileHeader(width, height, frames, 30000, 1001, BT709, entries, eyes=parts[0][0].eyes)
    return write_container(file_header, iter(parts)), panoramas


def _encode(header: MotionHeader, width: int, height: int, first: int) -> tuple[list[bytes], list[Picture]]:
    """Chunks in the order of the file, and decoded pictures in that of frames."""
    coded, pictures, eyes, sector = [], [], header.eyes or 1, header.sector or 0
    tuning = Tuning(header.interval, inter_view_levels=header.inter_view_levels or 1)
    for count in header.groups:
        frames = [render_frame(first + index, width=width, height=height, frames=64) for index in range(count)]
        both = np.stack([frames, other_eye(frames)][:eyes], axis=1).reshape(-1, height, width, 3)
        group = list(GroupEncoder(both, {}, eyes, sector).encode(tuning, header.steps))
        coded += [(each.data, each.sectors) for eye in range(eyes) for _, each, _ in group[eye::eyes]]
        pictures += [decoded for _, _, decoded in sorted(group, key=lambda each: each[0].frame)]
        first += count
    return write_chunks(width, height, sector, header.coded_keys(), coded), pictures


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
    data, panoramas_of_both = clip_file(WIDTH, HEIGHT, [(9, 6), (7,)], inter_view_levels=2)
    (folder / "stereo.nerv360").write_bytes(data)
    (folder / "stereo.rgb").write_bytes(np.stack(panoramas_of_both).tobytes())
    data, panoramas_of_sectors = clip_file(320, 160, [(9, 6)], sector=64)
    (folder / "sectors.nerv360").write_bytes(data)
    (folder / "sectors.rgb").write_bytes(np.stack(panoramas_of_sectors).tobytes())
    forged = []
    for index, (changes, version, message) in enumerate(FORGED):
        (folder / f"forged{index}.nerv360").write_bytes(forged_file(changes, version=version))
        forged.append({"file": f"forged{index}.nerv360", "message": message})
    orders = [
        {
            "groups": groups,
            "interval": interval,
            "levels": levels,
            "keys": [
                [key.frame, key.references, key.level] for key in keys_of_groups(groups, interval, 0, levels or None)
            ],
        }
        for groups in ((1,), (2, 1, 3), (9,), (33, 4, 17), (100,))
        for interval in (1, 2, 8, 64)
        for levels in (0, 1, 2, 16)
    ]
    return {"width": WIDTH, "height": HEIGHT, "frames": len(panoramas), "orders": orders, "forged": forged}
