"""Rate and quality beside classical codecs: python rd.py OUT VIDEO:START:FRAMES:WxH [SETTING=VALUE ...]

Our files are written, read back by a decoder that knows nothing else, and measured as `nerv360 compare` measures; the
classical codecs have one key frame, as ours has one root. Rows of all go to OUT/runs.tsv, files to OUT too, what came
out of it to runs.tsv beside this.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import codec
import numpy as np
from clips import frames_of, opened
from numpy.typing import NDArray

from nerv360.config import preset_for
from nerv360.evaluation.anchors import ANCHORS
from nerv360.evaluation.compare import Comparison
from nerv360.evaluation.evaluate import dynamic_viewports, measure
from nerv360.evaluation.rd_curves import bd_rate
from nerv360.evaluation.results_store import append_row
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.progress import ignore
from nerv360.video.clip import Clip

STEPS = (14.0, 20.0, 30.0, 45.0)
AGAINST = ("x265", "svt-av1")
METRICS = {"views_db": "mean_psnr_db", "views_ms_ssim": "mean_ms_ssim", "panoramas_db": "ws_psnr_db"}
TABLE = Path(__file__).parent / "runs.tsv"


class Played:
    """A file of ours, as evaluation wants to look at it."""

    def __init__(self, data: bytes, clip: Clip) -> None:
        self.width, self.height, self.frames = clip.width, clip.height, clip.frames
        self.panorama = codec.decode(data)

    def viewport(self, frame: int, view: Viewport) -> NDArray[np.uint8]:
        return extract_viewport(self.panorama(frame), view)


def ours(clip: Clip, look: Viewport, settings: codec.Settings, path: Path) -> dict[str, str]:
    """Encode, write, read and measure."""
    frames, started = frames_of(clip), time.process_time()
    path.write_bytes(codec.encode(frames, settings))
    encoded = time.process_time()
    played = Played(path.read_bytes(), clip)
    decoded = time.process_time()
    megapixels = clip.frames * clip.width * clip.height / 1e6
    result = measure(played, path.stat().st_size, clip, dynamic_viewports(look, clip.frames), ignore)
    return {
        "bytes": str(path.stat().st_size),
        "views_db": f"{result.mean.psnr_db:.3f}",
        "views_ms_ssim": f"{result.mean.ms_ssim:.4f}",
        "panoramas_db": f"{result.ws_psnr_db:.3f}",
        "encode_cpu_s_per_mp": f"{(encoded - started) / megapixels:.2f}",
        "decode_cpu_s_per_mp": f"{(decoded - encoded) / megapixels:.3f}",
    }


def points(rows: list[dict[str, str]], names: dict[str, str], metric: str) -> list[tuple[float, float]]:
    values = [(float(row["bytes"]), float(row[names[metric]])) for row in rows]
    return [(size, -10 * np.log10(1 - value)) if "ssim" in metric else (size, value) for size, value in values]


def main() -> None:
    out, name, *changes = sys.argv[1:]
    folder, clip = Path(out), opened(name)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {field: type(value) for field, value in vars(codec.Settings()).items()}
    chosen = {field: kinds[field](value) for field, value in (change.split("=") for change in changes)}
    settings = replace(codec.Settings(), **chosen)
    width, height = preset_for("nerv360-grid", "medium").training_view(clip.width)
    look = Viewport(width=width, height=height)
    known = {"clip": Path(name.split(":")[0]).stem + ":" + name.split(":", 1)[1], "settings": " ".join(changes)}
    rows = []
    for step in STEPS:
        path = folder / f"{clip.path.stem}-{clip.width}-{step:g}.bin"
        row = known | {"step": f"{step:g}"} | ours(clip, look, replace(settings, step=step), path)
        append_row(TABLE, row)
        rows.append(row)
        print(row, flush=True)
    comparison = Comparison(clip, look, (0,), folder)
    for codec_name in AGAINST:
        anchor = ANCHORS[codec_name]
        theirs = [comparison.anchor_row(anchor, crf) for crf in anchor.crfs]
        for metric in METRICS:
            rate = bd_rate(points(theirs, METRICS, metric), points(rows, {m: m for m in METRICS}, metric))
            print(known["clip"], codec_name, metric, rate, flush=True)


if __name__ == "__main__":
    main()
