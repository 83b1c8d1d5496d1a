"""ONNX Runtime on the CPU: portable; one session for every size."""

import threading
from collections.abc import Sequence

import onnxruntime
import torch
from torch import Tensor

from nerv360.export.onnx import draw_graph
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.types import Picture

__all__ = ["ONNXRuntimeRunner"]


class ONNXRuntimeRunner:
    def __init__(self, network: DecoderNetwork) -> None:
        self.network = network
        self._session: onnxruntime.InferenceSession | None = None
        self._making = threading.Lock()

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Picture:
        with self._making:
            session = self._session = self._session or self._load(sampled, modulations)
        names = [each.name for each in session.get_inputs()]
        arrays = [each.contiguous().numpy() for each in (*sampled, *modulations)]
        return session.run(None, dict(zip(names, arrays, strict=True)))[0][0]

    def _load(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_cpu_mem_arena = False  # it would keep the memory of the largest picture ever drawn
        graph = draw_graph(self.network, sampled, modulations)
        return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
