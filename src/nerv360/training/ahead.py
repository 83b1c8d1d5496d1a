"""Prepare on a device while it works: copies and geometry of the next step run beside the step before it."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

__all__ = ["made_ahead"]

Item = TypeVar("Item")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Item], Made], items: Iterator[Item], device: torch.device) -> Iterator[Made]:
    """`map`; on a GPU, each is made on a stream of its own, while the caller's work on the one before it runs.

    The host is at most one step ahead of the device. Memory of what the caller has let go of is not taken before the
    work on it is done: the stream waits for all that was asked for when the next is made.
    """
    if device.type == "cpu":
        yield from map(make, items)
        return
    cuda = torch.get_device_module(device)
    stream = cuda.Stream()

    def start(item: Item) -> Made:
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            return make(item)

    following = start(next(items))
    for item in items:
        stream.synchronize()
        made, following = following, start(item)
        yield made
        del made
    stream.synchronize()
    yield following
