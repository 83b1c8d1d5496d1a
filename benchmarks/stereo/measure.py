"""Both eyes in one file beside one file for each, to runs.tsv beside this:

measure.py VIDEO --size 384x192 --start 30 --frames 25 [--stereo top-bottom] [--preset fast]
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import nerv360
from nerv360.bitstream.container import Container
from nerv360.bitstream.header import MotionHeader
from nerv360.cli.options import parse_size
from nerv360.evaluation.results_store import Row, append_row
from nerv360.types import EYES
from nerv360.video.clip import Clip
from nerv360.video.reading import BOTH, Layout

TABLE = Path(__file__).parent / "runs.tsv"
RATE_WEIGHTS = (1.0, 4.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--size", default="384x192")
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--stereo")
    parser.add_argument("--preset", default="fast")
    given = parser.parse_args()
    for rate_weight in RATE_WEIGHTS:
        config = nerv360.preset(given.preset).replace(rate_weight=rate_weight)
        for eye in (*EYES, BOTH):
            layout = Layout(stereo=given.stereo, eye=eye)
            size, frames = parse_size(given.size), given.frames
            clip = Clip.open(given.video, start=given.start, frames=frames, size=size, layout=layout)
            row = {"video": Path(given.video).name, "start": str(given.start), "frames": str(frames)}
            row |= {"panorama": given.size, "preset": given.preset, "rate_weight": f"{rate_weight:g}", "eyes": eye}
            append_row(TABLE, row | measure(clip, given.stereo, config))


def measure(clip: Clip, stereo: str | None, config: nerv360.EncodingConfig) -> Row:
    """Encode the eyes of a clip, and measure them: each by itself."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.nerv360"
        result = nerv360.encode(clip, path, config)
        with Container(path) as container:
            header = container.segments[0].header
        assert isinstance(header, MotionHeader)
        row = {"bytes": str(result.size), "interval": str(header.interval)}
        row["inter_view_levels"] = str(header.inter_view_levels or "")
        for eye in clip.eyes:
            one = Clip.open(
                clip.path,
                start=clip.start,
                frames=clip.frames,
                size=(clip.width, clip.height),
                layout=Layout(stereo=stereo, eye=eye),
            )
            quality = nerv360.eval_file(path, one)
            row |= {f"{eye}_psnr_db": f"{quality.mean.psnr_db:.3f}", f"{eye}_ws_psnr_db": f"{quality.ws_psnr_db:.3f}"}
    return {name: row.get(name, "") for name in COLUMNS}


COLUMNS = (
    *("bytes", "interval", "inter_view_levels"),
    *(f"{eye}_{metric}" for metric in ("psnr_db", "ws_psnr_db") for eye in EYES),
)

if __name__ == "__main__":
    main()
