"""x265 on the same frames and viewports; appends to benchmarks/x265.tsv.

python benchmarks/x265.py VIDEO CRF --start K --frames N --size WxH --viewport WxH. The encoder is libx265 in PyAV,
preset medium, yuv420p; bytes are those of the coded pictures, without a container.
"""

import tempfile
from pathlib import Path

import av
import numpy as np
import typer
from table import append

from nerv360.console import parse_size
from nerv360.evaluation.evaluate import dynamic_viewports
from nerv360.evaluation.metrics import psnr
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.video.clip import Clip


def main(video: Path, crf: int, start: int = 0, frames: int = 64, size: str = "", viewport: str = "192x120") -> None:
    clip = Clip.open(video, start=start, frames=frames, size=parse_size(size) if size else None)
    sources = list(clip)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coded.mp4"
        with av.open(path, "w") as out:
            stream = out.add_stream("libx265", rate=clip.frame_rate)
            stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
            colour = "colormatrix=bt709:colorprim=bt709:transfer=bt709"
            stream.options = {"crf": str(crf), "preset": "medium", "x265-params": f"log-level=none:{colour}"}
            for source in sources:
                frame = av.VideoFrame.from_ndarray(source, format="rgb24")
                out.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
            out.mux(stream.encode())
        with av.open(path) as coded:
            size_bytes = sum(packet.size for packet in coded.demux(video=0) if packet.size)
        with av.open(path) as coded:
            decoded = [
                frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray() for frame in coded.decode(video=0)
            ]
    width, height = parse_size(viewport)
    trajectories = dynamic_viewports(Viewport(width=width, height=height), len(sources))
    scores = [
        psnr(extract_viewport(ours, view), extract_viewport(source, view))
        for views in trajectories.values()
        for ours, source, view in zip(decoded, sources, views, strict=True)
    ]
    row = {"video": video.name, "crf": crf, "bytes": size_bytes, "mean_psnr_db": f"{np.mean(scores):.2f}"}
    append(Path(__file__).with_suffix(".tsv"), row)
    print(row)


if __name__ == "__main__":
    typer.run(main)
