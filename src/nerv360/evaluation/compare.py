"""Our files beside classical codecs: the same views, the same measure; a row of runs.tsv for every file measured.

A run is known by its content: the frames, the view, and the settings of a classical codec or the bytes of our file.
What has its row is not done again.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import torch

from nerv360.backends.registry import describe_backend
from nerv360.codec.decoder import open_file
from nerv360.evaluation.anchors import Anchor, AnchorPlayer, encode_anchor
from nerv360.evaluation.evaluate import Player, dynamic_viewports, measure
from nerv360.evaluation.results_store import Row, append_row, provenance, quality_columns, read_rows
from nerv360.geometry.viewport import Viewport
from nerv360.storage import name_of
from nerv360.video.clip import Clip

__all__ = ["anchor_row", "file_row"]

Advance = Callable[[int], None]  # is told of frames that are done


def anchor_row(anchor: Anchor, crf: int, clip: Clip, look: Viewport, folder: Path, advance: Advance) -> Row:
    """Encode the clip with a classical codec and measure its file: every frame is done twice.

    Raises ArgumentError, OutputError.
    """
    settings = anchor.settings(crf, clip)
    run = _run(clip, look, settings)
    row = _finished(run, folder)
    if row is not None:
        advance(2 * clip.frames)
        return row
    path = folder / f"{Path(name_of(clip.path)).stem}-{anchor.name}-{crf}-{run}{anchor.ending}"
    seconds = encode_anchor(anchor, crf, clip, path, lambda: advance(1))
    known = {
        "run": run,
        "codec": anchor.name,
        "settings": settings,
        "encode_s": f"{seconds:.2f}",
        "decoder": f"PyAV {av.__version__}",
    }
    return _measured(AnchorPlayer(path), path, known, clip, look, folder, advance)


def file_row(
    path: Path, settings: str, seconds: float | None, clip: Clip, look: Viewport, folder: Path, advance: Advance
) -> Row:
    """Measure a .nerv360 file of the clip; `settings` and `seconds` are those of its encoding, as far as known.

    Raises BitstreamError, and ArgumentError where the file is not of that many frames or of that size.
    """
    with open(path, "rb") as file:
        run = _run(clip, look, hashlib.file_digest(file, "sha256").hexdigest())
    row = _finished(run, folder)
    if row is not None:
        advance(clip.frames)
        return row
    with open_file(path) as decoder:
        known = {
            "run": run,
            "codec": decoder.container.segments[0].header.model,
            "settings": settings,
            "encode_s": "" if seconds is None else f"{seconds:.2f}",
            "decoder": describe_backend(decoder.backend),
        }
        return _measured(decoder, path, known, clip, look, folder, advance)


def _run(clip: Clip, look: Viewport, content: str) -> str:
    return hashlib.sha256(f"{clip.fingerprint()} {look} {content}".encode()).hexdigest()[:12]


def _finished(run: str, folder: Path) -> Row | None:
    return next((row for row in read_rows(folder / "runs.tsv") if row.get("run") == run), None)


def _measured(
    player: Player, path: Path, known: Row, clip: Clip, look: Viewport, folder: Path, advance: Advance
) -> Row:
    views, size = dynamic_viewports(look, clip.frames), path.stat().st_size
    result = measure(player, size, clip, views, lambda done, total: advance(1))
    row = {
        **known,
        "file": path.name,
        "video": name_of(clip.path),
        "start": str(clip.start),
        "frames": str(clip.frames),
        "panorama": f"{clip.width}x{clip.height}",
        "viewport": result.viewport,
        "bytes": str(size),
        "kbit_s": f"{result.bitrate / 1000:.3f}",
        **quality_columns(result),
        "decode_fps": f"{_playing_fps(player, next(iter(views.values()))):.1f}",
        **provenance(torch.device("cpu")),
    }
    append_row(folder / "runs.tsv", row)
    return row


def _playing_fps(player: Player, views: Sequence[Viewport]) -> float:
    """Views per second for one viewer, who watches from the beginning; the last view, drawn before, warms up."""
    player.viewport(len(views) - 1, views[-1])
    started = time.perf_counter()
    for index, view in enumerate(views):
        player.viewport(index, view)
    return len(views) / (time.perf_counter() - started)
