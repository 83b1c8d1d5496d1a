"""Ways to code the embeddings of a fitted file of nerv360; appends to benchmarks/rate/embeddings.tsv.

python benchmarks/rate/embeddings.py FILE.nerv360. Every way is lossless: it keeps the file's integers. Video codecs get
one picture per frame and channel, 10 bits of grey; their bytes are those of the packets, without a container.
"""

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from nerv360.bitstream.container import Container
from nerv360.codec.load_network import load_network
from nerv360.latents.context_model import ContextModel, fit_context_model
from nerv360.latents.integer_context_model import read_latent, write_context_model, write_latent

sys.path.append(str(Path(__file__).parents[1]))
from table import append

STEPS = 200  # of fitting a context model
LEAST_SIDE = 64  # of a video; the last row and column are repeated as far
Keys = NDArray[np.int32]  # [keys, channels, rows, columns]


def main(file: Path) -> None:
    embeddings = _embeddings(file)
    shape = "x".join(map(str, embeddings.shape))
    for key_interval in (8, 16, 64):
        groups = [embeddings[first : first + key_interval] for first in range(0, len(embeddings), key_interval)]
        ways = {
            "one table for each channel": sum(map(_entropy, embeddings.swapaxes(0, 1))),
            "difference to the key before, one table": sum(
                _entropy(np.diff(group, axis=0, prepend=0)) for group in groups
            ),
            "contexts, each key by itself": _contexts(list(np.split(embeddings, len(embeddings)))),
            "contexts, from keys on both sides": _contexts(groups),
            "x265, lossless": _video(groups, "libx265", {"x265-params": "lossless=1:log-level=none:info=0"}),
            "FFV1": _video(groups, "ffv1", {"level": "3", "context": "1"}),
        }
        for way, size in ways.items():
            row = {"file": file.name, "integers": shape, "key_interval": key_interval, "way": way, "bytes": round(size)}
            append(Path(__file__).with_suffix(".tsv"), row)
            print(row)


def _embeddings(file: Path) -> Keys:
    with Container(file) as container:
        (segment,) = container.segments
        contexts, header = load_network(container, segment, torch.device("cpu")).context_model, container.header
        (latent,) = segment.latents
        size = latent.size(header.width, header.height)
        shapes = [(part.keys, latent.channels, *size) for part in segment.key_groups]
        chunks = [container.chunk(segment, 2 + index) for index in range(len(shapes))]
        return np.concatenate(
            [
                read_latent(*pair)
                for pair in zip(chunks, [contexts] * len(chunks), [0] * len(chunks), shapes, strict=True)
            ]
        )


def _entropy(symbols: NDArray[np.int32]) -> float:
    """Bytes under a table of their own, which is not counted."""
    _, occurrences = np.unique(symbols, return_counts=True)
    return float(-(occurrences * np.log2(occurrences / symbols.size)).sum()) / 8


def _contexts(groups: Sequence[Keys]) -> int:
    contexts = fit_context_model([(group, 0) for group in groups], ContextModel(groups[0].shape[1]), STEPS)
    return len(write_context_model(contexts)) + sum(len(write_latent(group, contexts, 0)) for group in groups)


def _video(groups: Sequence[Keys], name: str, options: dict[str, str]) -> int:
    size = 0
    for group in groups:
        for channel in group.swapaxes(0, 1):
            margins = [max(LEAST_SIDE, -(-side // 8) * 8) - side for side in channel.shape[1:]]
            channel = np.pad(channel, ((0, 0), *((0, margin) for margin in margins)), mode="edge")
            codec = av.CodecContext.create(name, "w")
            codec.height, codec.width = channel.shape[1:]
            codec.pix_fmt, codec.time_base, codec.options = "gray10le", Fraction(1, 25), options
            pictures = [av.VideoFrame.from_ndarray(4 * key.astype(np.uint16), format="gray10le") for key in channel]
            for index, picture in enumerate(pictures):
                picture.pts = index
            packets = [packet for picture in (*pictures, None) for packet in codec.encode(picture)]
            size += sum(packet.size for packet in packets)
    return size


if __name__ == "__main__":
    typer.run(main)
