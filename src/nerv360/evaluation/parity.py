"""A file's network as ONNX, checked: the same views, drawn by ONNX Runtime and by PyTorch."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from nerv360.bitstream.container import Container
from nerv360.claims import claim
from nerv360.codec.network_decoder import NetworkDecoder
from nerv360.errors import MissingExtra
from nerv360.storage import Location, atomic_write

__all__ = ["Parity", "export_onnx"]


@dataclass(frozen=True)
class Parity:
    """How far ONNX Runtime's pictures are from PyTorch's, over a few frames."""

    size: int  # bytes of the ONNX file
    opset: int
    frames: int
    width: int
    height: int
    largest: int  # difference, in levels of 255
    differing: float  # share of values that differ


@torch.inference_mode()
def export_onnx(path: Location, output: Path, segment_index: int = 0) -> Parity:
    """Write the network of a file as ONNX, and draw a few of its frames with it and with PyTorch.

    Of a file of several segments, `segment_index` says whose. Raises BitstreamError, MissingExtra, OutputError.
    """
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        raise MissingExtra("export --onnx needs onnx and onnxruntime: pip install 'nerv360[onnxruntime]'")
    import onnxruntime

    from nerv360.export.onnx import OPSET, draw_graph

    with Container(path) as container, claim(output, *container.files()):
        segment = container.segments[segment_index]
        reader = NetworkDecoder(container, segment, "torch")
        header = segment.header
        view = header.trained_view()
        frames = sorted({0, segment.frames // 2, segment.frames - 1})
        differences = []
        session = None
        for frame in frames:
            sampled, modulations = reader.draw_inputs(frame, view)
            if session is None:
                data = draw_graph(reader.network, sampled, modulations).SerializeToString()
                session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
            names = [each.name for each in session.get_inputs()]
            arrays = [each.contiguous().numpy() for each in (*sampled, *modulations)]
            drawn = session.run(None, dict(zip(names, arrays, strict=True)))[0][0]
            expected = reader.runner.draw(sampled, modulations)
            differences.append(np.abs(drawn.astype(np.int16) - expected))
        with atomic_write(output) as partial:
            partial.write_bytes(data)
    height, width = differences[0].shape[:2]
    apart = np.stack(differences)
    return Parity(len(data), OPSET, len(frames), width, height, int(apart.max()), float((apart > 0).mean()))
