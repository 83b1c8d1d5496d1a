"""Append rows to benchmarks/player/bytes.tsv: what a server's pictures of a drag weigh, as JPEG and as H.264.

python benchmarks/player/bytes.py FILE
The view turns by 90 degrees and back on a still frame, then looks ahead while the clip plays, in the trained size.
"""

import io
import math
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import typer
from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))
from table import append, commit, cpu

from nerv360 import api
from nerv360.quality import psnr
from nerv360.serving.pictures import Format, Pictures
from nerv360.types import Picture

PICTURES = 60


def main(file: Path) -> None:
    with api.open(file) as decoder:
        look = decoder.native_view()
        look = replace(look, width=look.width & ~1, height=look.height & ~1)
        turns = (45 - 45 * math.cos(2 * math.pi * index / PICTURES) for index in range(PICTURES))
        ways = {
            "drag": [decoder.viewport(0, replace(look, yaw_deg=yaw, pitch_deg=yaw / 6)) for yaw in turns],
            "playing": [decoder.viewport(frame, look) for frame in range(decoder.frames)],
        }
    for way, pictures in ways.items():
        for form in ("jpeg", "h264"):
            row = {"file": file.name, "view": f"{look.width}x{look.height}", "way": way, "format": form}
            row |= sent(pictures, form) | {"cpu": cpu(), "commit": commit()}
            append(Path(__file__).with_suffix(".tsv"), row)
            print(*row.values(), sep="\t")


def sent(pictures: list[Picture], form: Format) -> dict[str, object]:
    """How many bytes and milliseconds a picture costs, and how near what is seen is to it."""
    viewer, sizes, milliseconds, quality = Pictures(), [], [], []
    h264 = av.VideoCodecContext.create("h264", "r")
    h264.thread_count = 1
    for picture in pictures:
        began = time.perf_counter()
        _, data = viewer.encode(picture, form)
        milliseconds.append(1000 * (time.perf_counter() - began))
        sizes.append(len(data))
        quality.append(psnr(picture, seen(data, h264) if form == "h264" else np.array(Image.open(io.BytesIO(data)))))
    return {
        "pictures": len(pictures),
        "first_bytes": sizes[0],
        "bytes_per_picture": round(statistics.mean(sizes)),
        "psnr_db": f"{statistics.mean(quality):.1f}",
        "ms": f"{statistics.median(milliseconds):.1f}",
    }


def seen(data: bytes, decoder: av.VideoCodecContext) -> Picture:
    (frame,) = decoder.decode(av.Packet(data))
    return frame.to_ndarray(format="rgb24", src_colorspace="itu709", dst_colorspace="itu709")


if __name__ == "__main__":
    typer.run(main)
