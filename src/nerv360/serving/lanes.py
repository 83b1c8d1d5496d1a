"""Threads that decode for viewers. A view that takes long does not hold up those of others."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from nerv360.serving.pictures import Pictures

if TYPE_CHECKING:  # it loads PyTorch, which takes seconds
    from nerv360.codec.decoder import Decoder

__all__ = ["Lane", "Lanes", "Viewer"]

T = TypeVar("T")

LONG_S = 0.5  # that a view takes: from then on others do not wait for it
MOST_LANES = 3


@dataclass
class Viewer:
    """Who asks for views, one at a time: the encoder of what is sent, and whether the last view took long."""

    pictures: Pictures = field(default_factory=Pictures)
    slow: bool = False


class Lane:
    """A thread, and a decoder of its own, which only that thread opens and uses."""

    def __init__(self, open_decoder: "Callable[[], Decoder]") -> None:
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")
        self.opened = 0.0  # when, by the clock of `time.perf_counter`
        self._open_decoder = open_decoder
        self._decoder: Decoder | None = None

    def decoder(self) -> "Decoder":
        if self._decoder is None:
            self._decoder = self._open_decoder()
            self.opened = time.perf_counter()
        return self._decoder

    def close(self) -> None:
        """Waits for the view that is being decoded."""
        self.thread.shutdown(cancel_futures=True)
        if self._decoder is not None:
            self._decoder.close()


class Lanes:
    """One view is decoded after the other, whoever asks; but not behind one that takes long, beside which others go on.

    Viewers whose last view took long share one lane. Lanes are made as they are needed.
    """

    def __init__(self, open_decoder: "Callable[[], Decoder]") -> None:
        self._open_decoder = open_decoder
        self._lanes = [Lane(open_decoder)]
        self._short: set[Lane] = set()  # with a view that has not taken long yet: one at most
        self._long: set[Lane] = set()
        self._changed = asyncio.Condition()

    def warm_up(self) -> None:
        """Begin to open the first decoder, before anyone asks."""
        self._lanes[0].thread.submit(self._lanes[0].decoder)

    async def run(self, viewer: Viewer, work: Callable[[Lane], T]) -> T:
        """Have a thread do something for a viewer. Who leaves while it is done does not stop it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._may_begin(viewer))
            taken = self._short | self._long
            lane = next((each for each in self._lanes if each not in taken), None)
            if lane is None:
                self._lanes.append(lane := Lane(self._open_decoder))
            (self._long if viewer.slow else self._short).add(lane)
            task = asyncio.create_task(self._occupy(lane, viewer, work))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear of it
        return await asyncio.shield(task)

    def close(self) -> None:
        """Waits for the views that are being decoded."""
        for lane in self._lanes:
            lane.close()

    def _may_begin(self, viewer: Viewer) -> bool:
        return not self._long if viewer.slow else not self._short and len(self._long) < MOST_LANES

    async def _occupy(self, lane: Lane, viewer: Viewer, work: Callable[[Lane], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(lane.thread, lane.decoder)  # which counts for nobody
            job = loop.run_in_executor(lane.thread, work, lane)
            done, _ = await asyncio.wait({job}, timeout=LONG_S)
            viewer.slow = not done
            if viewer.slow:
                await self._move(lane, to=self._long)
            return await job
        finally:
            await self._move(lane)

    async def _move(self, lane: Lane, to: set[Lane] | None = None) -> None:
        async with self._changed:
            self._short.discard(lane)
            self._long.discard(lane)
            if to is not None:
                to.add(lane)
            self._changed.notify_all()
