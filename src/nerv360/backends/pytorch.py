"""PyTorch: always there. On CUDA, each size is one CUDA graph."""

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerv360.backends.cache import LRUCache
from nerv360.models.build import channels_last
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.types import Picture

__all__ = ["TorchRunner"]

GRAPHS_KEPT = 4
WARM_UP = 3
CAPTURING = threading.Lock()  # a process captures one graph at a time


@dataclass
class _Captured:
    """A CUDA graph, and the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    picture: Tensor


class TorchRunner:
    """`network.draw` itself, on a GPU in float16 if `half`."""

    def __init__(self, network: DecoderNetwork, device: torch.device, half: bool = False) -> None:
        self.network, self.device = network, device
        self._captured: LRUCache[tuple[torch.Size, ...], _Captured] = LRUCache(GRAPHS_KEPT)
        self._replaying = threading.Lock()  # a graph has one picture
        if device.type != "cpu":
            self._dtype = torch.float16 if half else torch.float32
            self.network = channels_last(copy.deepcopy(network).to(device, self._dtype))
            self._cuda = torch.get_device_module(device)
            self._pool = self._cuda.graph_pool_handle()  # graphs are replayed one by one, so they share their memory

    @torch.inference_mode()
    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Picture:
        if self.device.type == "cpu":
            return self._levels(sampled, modulations).numpy()
        inputs = [*sampled, *modulations]
        shapes = tuple(each.shape for each in inputs)
        with self._replaying:
            captured = self._captured.get(shapes, lambda: self._capture(inputs, len(sampled)))
            for static, each in zip(captured.inputs, inputs, strict=True):
                static.copy_(each)
            captured.graph.replay()
            return captured.picture.cpu().numpy()

    def _levels(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Tensor:
        """uint8 [H, W, 3]."""
        return (
            self.network.draw(sampled, modulations)[0].permute(1, 2, 0).mul(255).round_().to(torch.uint8).contiguous()
        )

    def _capture(self, inputs: Sequence[Tensor], count: int) -> _Captured:
        cuda, static = self._cuda, [each.to(self.device, self._dtype, copy=True) for each in inputs]
        with CAPTURING:
            stream = cuda.Stream()
            stream.wait_stream(cuda.current_stream())
            with cuda.stream(stream):
                for _ in range(WARM_UP):
                    self._levels(static[:count], static[count:])
            cuda.current_stream().wait_stream(stream)
            graph = cuda.CUDAGraph()
            # other threads prepare views meanwhile
            with cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                picture = self._levels(static[:count], static[count:])
        return _Captured(graph, static, picture)
