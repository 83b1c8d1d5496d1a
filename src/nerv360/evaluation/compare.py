"""Our files beside classical codecs: the same views, the same measure; a row of runs.tsv for every file measured.

A run is known by its content: the frames, the view, and the settings of a classical codec or the bytes of our file.
What has its row is not done again.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import torch

from nerv360.backends.registry import describe_backend
from nerv360.claims import check_output
from nerv360.codec.decoder import open_file
from nerv360.errors import ArgumentError
from nerv360.evaluation.anchors import Anchor, AnchorDecoder, count_key_frames, encode_anchor
from nerv360.evaluation.evaluate import ViewSource, measure
from nerv360.evaluation.results_store import (
    PROVENANCE,
    QUALITY,
    Row,
    append_row,
    check_columns,
    provenance,
    quality_columns,
    read_rows,
    read_text,
)
from nerv360.geometry.viewport import Viewport, dynamic_viewports
from nerv360.progress import OnProgress, ignore, part_of
from nerv360.storage import name_of
from nerv360.video.clip import Clip

__all__ = ["COLUMNS", "Comparison", "regular_key_frames", "shared_key_frames"]

COLUMNS = (
    *("run", "codec", "settings", "key_frames", "encode_s", "decoder", "file", "video", "start", "frames", "panorama"),
    *("viewport", "bytes", "kbit_s", *QUALITY, "ms_ssim_window", "ws_psnr_db", "decode_fps", *PROVENANCE),
)


def regular_key_frames(clip: Clip, interval_s: float) -> range:
    """A key frame every so many seconds."""
    return range(0, clip.frames, max(1, round(interval_s * clip.frame_rate)))


def shared_key_frames(segment_starts: Sequence[Sequence[int]]) -> Sequence[int]:
    """Where the segments of all our files begin; the first frame where there is no file.

    Raises ArgumentError where the files are not cut alike.
    """
    if not segment_starts:
        return (0,)
    if any(starts != segment_starts[0] for starts in segment_starts):
        raise ArgumentError(
            "compare: the files begin their segments at different frames; compare them one by one, or give the key "
            "interval of the classical codecs: --key-interval SECONDS"
        )
    return segment_starts[0]


@dataclass(frozen=True)
class Comparison:
    """What all rows of a comparison have in common."""

    clip: Clip
    look: Viewport  # size and field of view of the views that are measured
    key_frames: Sequence[int]  # of the classical codecs
    folder: Path  # of runs.tsv and of the files

    def check_table(self) -> None:
        """Raises OutputError where runs.tsv could not be gone on with: before hours of work, not after them."""
        check_columns(self._table, read_text(self._table), COLUMNS)

    def anchor_row(self, anchor: Anchor, crf: int, on_progress: OnProgress = ignore) -> Row:
        """Encode the clip with a classical codec and measure its file: every frame is done twice.

        Raises ArgumentError, OutputError.
        """
        settings = anchor.settings(crf, self.clip.frames, self.key_frames)
        run = self._run(settings)
        if (row := self._finished(run)) is not None:
            return row
        path = self.folder / f"{Path(name_of(self.clip.path)).stem}-{anchor.name}-{crf}-{run}{anchor.ending}"
        check_output(path, self.clip.path)
        frames = self.clip.frames
        encoding = part_of(on_progress, "comparing", 0, 2 * frames)
        seconds = encode_anchor(anchor, crf, self.clip, self.key_frames, path, encoding)
        known = {
            "run": run,
            "codec": anchor.name,
            "settings": settings,
            "key_frames": str(count_key_frames(path)),
            "encode_s": f"{seconds:.2f}",
            "decoder": f"PyAV {av.__version__}",
        }
        measuring = part_of(on_progress, "comparing", frames, 2 * frames)
        return self._measured(AnchorDecoder(path), path, known, measuring)

    def file_row(self, path: Path, settings: str, seconds: float | None, on_progress: OnProgress = ignore) -> Row:
        """Measure a .nerv360 file of the clip; `settings` and `seconds` are those of its encoding, as far as known.

        Raises BitstreamError, and ArgumentError where the file is not of that many frames or of that size.
        """
        with open(path, "rb") as file:
            run = self._run(hashlib.file_digest(file, "sha256").hexdigest())
        if (row := self._finished(run)) is not None:
            return row
        with open_file(path) as decoder:
            known = {
                "run": run,
                "codec": decoder.container.segments[0].header.model,
                "settings": settings,
                "key_frames": str(len(decoder.container.segments)),
                "encode_s": "" if seconds is None else f"{seconds:.2f}",
                "decoder": describe_backend(decoder.backend),
            }
            return self._measured(decoder, path, known, on_progress)

    @property
    def _table(self) -> Path:
        return self.folder / "runs.tsv"

    def _run(self, content: str) -> str:
        return hashlib.sha256(f"{self.clip.fingerprint()} {self.look} {content}".encode()).hexdigest()[:12]

    def _finished(self, run: str) -> Row | None:
        return next((row for row in read_rows(self._table) if row.get("run") == run), None)

    def _measured(self, source: ViewSource, path: Path, known: Row, on_progress: OnProgress) -> Row:
        clip, size = self.clip, path.stat().st_size
        views = dynamic_viewports(self.look, clip.frames)
        result = measure([source], size, clip, views, on_progress)
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
            "decode_fps": f"{_playing_fps(source, next(iter(views.values()))):.1f}",
            **provenance(torch.device("cpu")),
        }
        append_row(self._table, row)
        return row


def _playing_fps(source: ViewSource, views: Sequence[Viewport]) -> float:
    """Views per second for one viewer, who watches from the beginning; the last view, drawn before, warms up."""
    source.viewport(len(views) - 1, views[-1])
    started = time.perf_counter()
    for index, view in enumerate(views):
        source.viewport(index, view)
    return len(views) / (time.perf_counter() - started)
