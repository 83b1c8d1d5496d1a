"""The weights of a fitted file, pruned or quantised more coarsely afterwards -> rows of benchmarks/rate/pruning.tsv.

python benchmarks/rate/pruning.py FILE.nerv360 VIDEO --start K. The smallest part of every tensor of weights (biases are
kept) becomes 0, or all tensors get fewer bits; nothing is fitted anew. Quality is that of the file, read back.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append, commit

import nerv360
from nerv360.bitstream.container import Container, write_container
from nerv360.bitstream.weights import QuantizedTensor, dequantize, quantize, read_weights, write_weights
from nerv360.cli.console import progress_bar
from nerv360.codec.load_network import load_network
from nerv360.entropy.laplace import best_scale
from nerv360.models.build import decoder_tensors
from nerv360.progress import tracked

SHARES, DEPTHS = (0.1, 0.2, 0.3, 0.5), (7, 6, 5)
Tensors = Mapping[str, QuantizedTensor]


def main(file: Path, video: Path, start: int = 0) -> None:
    with Container(file) as container:
        (segment,) = container.segments
        network = load_network(container, segment, torch.device("cpu"))
        shapes = {name: tuple(tensor.shape) for name, tensor in decoder_tensors(network.network).items()}
        chunks = [container.chunk(segment, index) for index in range(len(segment.header.chunks))]
        heads = container.header, segment.header
    variants = list(_variants(read_weights(chunks[0], shapes)))
    with tempfile.TemporaryDirectory() as folder, progress_bar() as on_progress:
        for what, tensors in tracked(variants, file.name, len(variants), on_progress):
            path = Path(folder) / "pruned.nerv360"
            path.write_bytes(write_container(heads[0], iter([(heads[1], [write_weights(tensors), *chunks[1:]])])))
            result = nerv360.eval_file(path, video, start=start)
            row = {
                "file": file.name,
                "model": heads[1].model,
                "weights": what,
                "zeros": f"{np.mean(np.concatenate([each.symbols.ravel() for each in tensors.values()]) == 0):.3f}",
                "bytes": result.size,
                "psnr_db": f"{result.mean.psnr_db:.2f}",
                "commit": commit(),
            }
            append(Path(__file__).with_suffix(".tsv"), row)


def _variants(tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    yield "as fitted", tensors
    for share in SHARES:
        yield f"the smallest {share:.0%} pruned", {name: _pruned(each, share) for name, each in tensors.items()}
    for bits in DEPTHS:
        yield f"{bits} bits", {name: quantize(dequantize(each), bits) for name, each in tensors.items()}


def _pruned(tensor: QuantizedTensor, share: float) -> QuantizedTensor:
    if tensor.symbols.ndim == 1:  # a bias
        return tensor
    size = np.abs(tensor.symbols)
    symbols = np.where(size <= np.quantile(size, share), 0, tensor.symbols)
    return QuantizedTensor(symbols, tensor.step, best_scale(symbols))


if __name__ == "__main__":
    typer.run(main)
