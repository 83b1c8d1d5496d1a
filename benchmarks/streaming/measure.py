"""What a viewer fetches: sectors of nerv360-motion beside whole files, and beside SVT-AV1 whole and cut into 6x4 tiles.

python benchmarks/streaming/measure.py VIDEO --start K --frames N --size WxH --folder DIR

Adds rows to benchmarks/streaming/fetched.tsv, and draws DIR/NAME.png. Files in DIR are used again.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nerv360 import api
from nerv360.bitstream.container import Container
from nerv360.cli.options import parse_size
from nerv360.config import preset_for
from nerv360.evaluation.anchors import ANCHORS
from nerv360.evaluation.streaming import StreamCost, stream_cost
from nerv360.extract import extract_viewport
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.viewport import Viewport, dynamic_viewports
from nerv360.geometry.window import Window
from nerv360.quality import psnr
from nerv360.types import Picture
from nerv360.video.clip import Clip
from nerv360.video.writer import encode_video

HERE = Path(__file__).parent
LOOK = Viewport(hfov_deg=78.1, width=480, height=270)
COLUMNS, ROWS, BASE = 6, 4, 4  # tiles; how much smaller the picture is that all see
JUMP = 1.0  # seconds from one direction to the next
JVET_SECONDS = 10  # that VP0 and VP1 take for 90 degrees
ALIKE_DB = 0.1  # that a view may lose
CRFS = (23, 31, 39, 47, 53, 58)
AV1 = ANCHORS["svt-av1"]


def wandering(frames: int, fps: float) -> list[Viewport]:
    """A head that looks about: sums of slow swings, up to 70 degrees a second."""
    t = np.arange(frames) / fps
    yaw = 60 * np.sin(0.9 * t) + 25 * np.sin(2.3 * t + 1) + 20 * t
    pitch = 15 * np.sin(0.7 * t + 2) + 6 * np.sin(2.9 * t)
    return [replace(LOOK, yaw_deg=float(y), pitch_deg=float(p)) for y, p in zip(yaw, pitch, strict=True)]


def jumping(frames: int, fps: float) -> list[Viewport]:
    """One that looks elsewhere every second."""
    yaws, pitches = (0, 140, -80, 60, 180, -30), (0, 20, -25, 10, -10, 30)
    turns = [int(frame / fps / JUMP) % len(yaws) for frame in range(frames)]
    return [replace(LOOK, yaw_deg=yaws[k], pitch_deg=pitches[k]) for k in turns]


def quality(pictures: Sequence[Picture], views: Sequence[Viewport], wanted: Sequence[Picture]) -> NDArray[np.float64]:
    """PSNR of every view of a path, cut out of panoramas."""
    cut = (extract_viewport(picture, view) for picture, view in zip(pictures, views, strict=True))
    return np.array([psnr(*each) for each in zip(cut, wanted, strict=True)])


def group_starts(path: Path) -> list[int]:
    """The frames that begin anew in a file."""
    with Container(path) as container:
        groups = [frames for segment in container.segments for frames in segment.header.groups]
    return [int(first) for first in np.cumsum([0, *groups[:-1]])]


def edges(size: int, parts: int) -> list[int]:
    return [2 * round(size * part / parts / 2) for part in range(parts)] + [size]


def areas(width: int, height: int) -> list[tuple[slice, slice]]:
    """Rows and columns of each tile."""
    rows, columns = edges(height, ROWS), edges(width, COLUMNS)
    return [(slice(*rows[i : i + 2]), slice(*columns[j : j + 2])) for i in range(ROWS) for j in range(COLUMNS)]


def compress(path: Path, pictures: Iterator[Picture], clip: Clip, crf: int, starts: Sequence[int]) -> None:
    if not path.exists():
        options = AV1.options(crf, clip.frames)
        encode_video(path, pictures, clip.frame_rate, clip.colour, AV1.encoder, options, starts)


def decoded(path: Path) -> list[Picture]:
    return list(Clip.open(path, force=True))


def packets_of_groups(path: Path, starts: Sequence[int], fps: float) -> NDArray[np.int64]:
    """Bytes of the packets of each group of a video, without its container."""
    sizes = np.zeros(len(starts), np.int64)
    with av.open(path) as video:
        for packet in video.demux(video=0):
            if packet.pts is not None:
                frame = round(float(packet.pts * packet.time_base) * fps)
                sizes[np.searchsorted(starts, frame, "right") - 1] += packet.size
    return sizes


def visible(view: Viewport, width: int, height: int) -> set[int]:
    """The tiles that a view touches."""
    footprint = Footprint.of(view, 1, height, width, 1, torch.empty(0))
    cells = np.zeros((height, width), bool)
    for row, column in window_places(footprint.window):
        cells[row, column] = True
    return {number for number, area in enumerate(areas(width, height)) if cells[area].any()}


def window_places(window: Window) -> Iterator[tuple[slice, np.ndarray]]:
    for first, end, turned in window.sheets():
        top, left = (window.top + first) % window.height, window.left
        if turned:
            top, left = window.height - top - (end - first), left + window.width // 2
        yield slice(top, top + end - first), np.arange(left, left + window.columns) % window.width


def at_quality(points: Sequence[tuple[float, float]], wanted: float) -> float:
    """Bytes at a quality, by the logarithm of the bytes between the points; none is guessed beyond them."""
    qualities, sizes = zip(*sorted(points), strict=True)
    if not qualities[0] <= wanted <= qualities[-1]:
        return math.nan
    return float(np.exp(np.interp(wanted, qualities, np.log(sizes))))


def main(
    video: Path,
    folder: Annotated[Path, typer.Option()],
    size: Annotated[str, typer.Option()] = "",
    start: int = 0,
    frames: int = 64,
    rate_weight: float = 1.1,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    clip = Clip.open(video, start=start, frames=frames, size=parse_size(size) if size else None)
    source, fps = list(clip), float(clip.frame_rate)
    paths = {name: views[:frames] for name, views in dynamic_viewports(LOOK, round(JVET_SECONDS * fps)).items()}
    paths |= {"wandering": wandering(frames, fps), "jumping": jumping(frames, fps)}
    files = {}
    for name, sectors in (("whole", False), ("sectors", True)):
        files[name] = folder / f"{video.stem}-{name}.nerv360"
        if not files[name].exists():
            api.encode(
                clip,
                files[name],
                preset_for("nerv360-motion", "medium").replace(sectors=sectors, rate_weight=rate_weight),
            )
    starts = group_starts(files["sectors"])
    whole, tiled = anchors(clip, source, folder / f"{video.stem}-svt-av1", starts)
    rows, traces = [], {}
    panoramas = {each: panoramas_of(path) for each, path in files.items()}
    for name, views in paths.items():
        costs = {each: stream_cost(files[each], views) for each in files}
        with api.open(files["sectors"]) as decoder:
            shown = [decoder.viewport(frame, view) for frame, view in enumerate(views)]
        wanted = [extract_viewport(picture, view) for picture, view in zip(source, views, strict=True)]
        found = np.array([psnr(a, b) for a, b in zip(shown, wanted, strict=True)])
        seen: set[tuple[int, int]] = set()  # tiles, in each group
        for frame, view in enumerate(views):
            group = int(np.searchsorted(starts, frame, "right")) - 1
            seen |= {(tile, group) for tile in visible(view, clip.width, clip.height)}
        traces[name] = costs["sectors"], found
        points = [(quality(each, views, wanted).mean(), size) for each, size in whole]
        points_of_tiles = [
            (quality(each, views, wanted).mean(), base + sum(parts[tile][group] for tile, group in seen))
            for each, parts, base in tiled
        ]
        as_whole = found > quality(panoramas["sectors"], views, wanted) - ALIKE_DB
        rows.append(
            {
                "video": video.stem,
                "panorama": f"{clip.width}x{clip.height}",
                "frames": frames,
                "view": name,
                "psnr_db": f"{found.mean():.2f}",
                "as_whole": f"{100 * as_whole.mean():.0f}",
                "whole_psnr_db": f"{quality(panoramas['whole'], views, wanted).mean():.2f}",
                "sectors_file": costs["sectors"].size,
                "whole_file": costs["whole"].size,
                "fetched": costs["sectors"].total,
                "of_file": f"{100 * costs['sectors'].share:.1f}",
                "kbit_s": f"{8 * costs['sectors'].total / costs['sectors'].seconds / 1000:.1f}",
                "svt_av1_whole": f"{at_quality(points, found.mean()):.0f}",
                "svt_av1_tiles": f"{at_quality(points_of_tiles, found.mean()):.0f}",
                "groups": len(starts),
                "tiles_seen": f"{len(seen) / len(starts):.1f}",
                "in_time": f"{100 * in_time(costs['sectors'], fps):.0f}",
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    write(rows)
    draw(traces, fps, folder / f"{video.stem}.png")


def panoramas_of(path: Path) -> list[Picture]:
    with api.open(path) as decoder:
        return [decoder.panorama(frame) for frame in range(decoder.frames)]


def anchors(clip: Clip, source: Sequence[Picture], folder: Path, starts: Sequence[int]) -> tuple[list, list]:
    """At every quality: of SVT-AV1's file pictures and bytes; of tiles pictures, bytes of each by groups, the base."""
    folder.mkdir(parents=True, exist_ok=True)
    fps = float(clip.frame_rate)
    whole, tiled = [], []
    for crf in CRFS:
        path = folder / f"{crf}.webm"
        compress(path, iter(source), clip, crf, starts)
        whole.append((decoded(path), path.stat().st_size))
        panoramas, sizes = np.stack(source).copy(), []
        for number, area in enumerate(areas(clip.width, clip.height)):
            path = folder / f"{crf}-{number}.webm"
            compress(path, (picture[area] for picture in source), clip, crf, starts)
            panoramas[(slice(None), *area)] = decoded(path)
            sizes.append(packets_of_groups(path, starts, fps))
        path, small = folder / f"{crf}-base.webm", (clip.width // BASE // 2 * 2, clip.height // BASE // 2 * 2)
        compress(path, iter(Clip.open(clip.path, start=clip.start, frames=clip.frames, size=small)), clip, crf, starts)
        tiled.append((panoramas, sizes, packets_of_groups(path, starts, fps).sum()))
    return whole, tiled


def in_time(cost: StreamCost, fps: float, startup_s: float = 1.0) -> float:
    """The part of the frames that are whole when they are due, on a line of twice the mean rate."""
    rate = 2 * cost.total / cost.seconds
    due = np.arange(len(cost.fetched)) / fps + startup_s
    return float((cost.opening + np.cumsum(cost.fetched) <= rate * due).mean())


def write(rows: Sequence[dict[str, object]]) -> None:
    """Rows take the place of those of the same clip and path."""
    path = HERE / "fetched.tsv"
    kept = path.read_text().splitlines() if path.exists() else ["\t".join(rows[0])]
    starts = {f"{row['video']}\t{row['panorama']}\t{row['frames']}\t{row['view']}\t" for row in rows}
    kept = [line for line in kept if not any(line.startswith(start) for start in starts)]
    path.write_text("\n".join([*kept, *("\t".join(map(str, row.values())) for row in rows)]) + "\n")


def draw(traces: Mapping[str, tuple[StreamCost, NDArray[np.float64]]], fps: float, path: Path) -> None:
    """Bytes and quality over time."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    fetched, qualities = figure.subplots(1, 2)
    for name, (cost, found) in traces.items():
        seconds = np.arange(len(found)) / fps
        fetched.plot(seconds, (cost.opening + np.cumsum(cost.fetched)) / 1000, label=name)
        qualities.plot(seconds, found, label=name)
    fetched.axhline(next(iter(traces.values()))[0].size / 1000, color="black", linestyle="--", label="the file")
    fetched.set_ylabel("Fetched, kB")
    qualities.set_ylabel("PSNR of the view, dB")
    for axes in (fetched, qualities):
        axes.set_xlabel("Time, s")
        axes.grid(alpha=0.3)
    fetched.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    typer.run(main)
