"""A segment's `draw` as the browser gets it: the graph alone. Its weights are those of the .nerv360 file itself."""

import onnx
import torch
from onnx import TensorProto, numpy_helper

from nerv360.bitstream.container import Container, Segment
from nerv360.codec.network_decoder import NetworkDecoder
from nerv360.export.onnx import draw_graph
from nerv360.geometry.viewport import Viewport
from nerv360.models.build import decoder_tensors
from nerv360.models.decoder_network import DecoderNetwork

__all__ = ["browser_graph"]

WEIGHTS = "weights"  # the name under which the graph asks for them


@torch.inference_mode()
def browser_graph(container: Container, segment: Segment) -> bytes:
    """An ONNX file whose weights are external data: all tensors of the file, in its order, as float32."""
    reader = NetworkDecoder(container, segment, "torch")
    graph = draw_graph(reader.network, *reader.draw_inputs(0, Viewport(width=64, height=64)))
    _refer_to_weights(graph, reader.network)
    return graph.SerializeToString()


def _refer_to_weights(graph: onnx.ModelProto, network: DecoderNetwork) -> None:
    offset = 0
    offsets: dict[tuple[tuple[int, ...], bytes], int] = {}
    for tensor in decoder_tensors(network).values():
        data = tensor.float().contiguous().numpy().tobytes()
        offsets[tuple(tensor.shape), data] = offset
        offset += len(data)
    for constant in graph.graph.initializer:
        data = numpy_helper.to_array(constant).tobytes()
        found = offsets.get((tuple(constant.dims), data))
        if found is None:
            continue
        constant.ClearField("raw_data")
        constant.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", str(found)), ("length", str(len(data)))):
            constant.external_data.add(key=key, value=value)
