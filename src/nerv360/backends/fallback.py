"""Pictures at once, while a faster backend is still compiling."""

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
    """Draws by one runner until another has drawn such a size once, on a thread of its own; then by that one."""

    def __init__(self, fast: Runner, at_once: Runner, thread: Executor) -> None:
        self.fast, self.at_once, self.thread = fast, at_once, thread
        self._ready: LRUCache[tuple[torch.Size, ...], Future[Picture]] = LRUCache(SIZES_KEPT)

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Picture:
        shapes = tuple(each.shape for each in sampled)
        ready = self._ready.get(shapes, lambda: self.thread.submit(self.fast.draw, sampled, modulations))
        return (self.fast if ready.done() else self.at_once).draw(sampled, modulations)
