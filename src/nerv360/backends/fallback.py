"""Draw with a slower backend while a faster one is still compiling."""

from collections.abc import Sequence
from concurrent.futures import Executor, Future

import torch
from torch import Tensor

from nerv360.backends.cache import LRUCache
from nerv360.backends.runner import Runner
from nerv360.types import Picture

__all__ = ["FallbackRunner"]

SIZES_KEPT = 4


class FallbackRunner:
    """Draws a picture of a new size with `fallback` until `fast`, on the executor, has drawn that size."""

    def __init__(self, fast: Runner, fallback: Runner, executor: Executor) -> None:
        self.fast, self.fallback, self.executor = fast, fallback, executor
        self._ready: LRUCache[tuple[torch.Size, ...], Future[Picture]] = LRUCache(SIZES_KEPT)

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Picture:
        shapes = tuple(each.shape for each in sampled)
        try:
            ready = self._ready.get(shapes, lambda: self.executor.submit(self.fast.draw, sampled, modulations))
        except RuntimeError:  # the file is being closed
            return self.fallback.draw(sampled, modulations)
        return (self.fast if ready.done() else self.fallback).draw(sampled, modulations)
