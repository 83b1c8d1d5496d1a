"""OpenVINO on the CPU: every size of picture is compiled once."""

import math
import threading
from collections.abc import Sequence

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from torch import Tensor

from nerv360.backends.cache import LRUCache
from nerv360.backends.runner import Examples
from nerv360.export.onnx import draw_graph
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.types import Picture

__all__ = ["OpenVINORunner"]

SIZES_KEPT = 4

# sin(r) = r (c0 + c1 r^2 + ...) for |r| <= pi: the best fit of this degree, off by 6e-7 at most in float32
SINE = (0.999999604, -0.166665535, 0.00833240766, -0.000198087415, 2.69982411e-06, -2.03662762e-08)


class OpenVINORunner:
    """A compiled graph for each size; with examples, one whose convolutions are quantised to 8 bits for them."""

    def __init__(self, network: DecoderNetwork, examples: Examples | None = None) -> None:
        self.network, self.examples = network, examples
        self._core = openvino.Core()
        self._model: openvino.Model | None = None
        self._requests: LRUCache[tuple[torch.Size, ...], openvino.InferRequest] = LRUCache(SIZES_KEPT)
        self._drawing = threading.Lock()  # a request has one picture

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Picture:
        arrays = [each.contiguous().numpy() for each in (*sampled, *modulations)]
        shapes = tuple(each.shape for each in (*sampled, *modulations))
        with self._drawing:
            model = self._model = self._model or self._load(sampled, modulations)
            request = self._requests.get(shapes, lambda: self._compile(model, shapes))
            return request.infer(arrays, share_inputs=True)[0][0]

    def _load(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> openvino.Model:
        graph = draw_graph(self.network, sampled, modulations)
        if self.examples is not None:
            from nerv360.export.quantized import quantized_graph

            given = ([*sampled, *modulations] for sampled, modulations in self.examples)
            self.examples = None  # they are large
            graph = quantized_graph(graph, [[each.contiguous().numpy() for each in inputs] for inputs in given])
        return _with_polynomial_sines(self._core.read_model(graph.SerializeToString()))

    def _compile(self, model: openvino.Model, shapes: Sequence[torch.Size]) -> openvino.InferRequest:
        model = model.clone()
        model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return self._core.compile_model(model, "CPU", settings).create_infer_request()


def _with_polynomial_sines(model: openvino.Model) -> openvino.Model:
    """The same model, with polynomials for its sines: OpenVINO fuses those with what follows, and computes sines alone
    one by one (benchmarks/runtime/README.md)."""
    for node in model.get_ops():
        if node.get_type_name() == "Sin":
            node.output(0).replace(_polynomial_sine(node.input_value(0)).output(0))
    return model


def _polynomial_sine(angle: openvino.Output) -> openvino.Node:
    turns = ops.round(ops.multiply(angle, np.float32(1 / (2 * math.pi))), "half_to_even")
    rest = ops.subtract(angle, ops.multiply(turns, np.float32(2 * math.pi)))
    square = ops.multiply(rest, rest)
    *lower, highest = SINE
    total = ops.multiply(square, np.float32(highest))
    for coefficient in reversed(lower[1:]):
        total = ops.multiply(ops.add(total, np.float32(coefficient)), square)
    return ops.multiply(ops.add(total, np.float32(lower[0])), rest)
