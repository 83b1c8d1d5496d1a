"""A bounded cache."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["LRUCache"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class LRUCache(Generic[Key, Value]):
    """At most so many values, or more of them while their sizes add up to no more than `room`; the one not used for
    longest goes."""

    def __init__(self, most: int, room: float = 0, size: Callable[[Value], float] = lambda value: math.inf) -> None:
        self.most, self.room, self.size = most, room, size
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made where it is missing."""
        if key not in self._values:
            self._values[key] = make()
            while len(self) > self.most and sum(map(self.size, self._values.values())) > self.room:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def forget(self, key: Key) -> None:
        self._values.pop(key, None)

    def clear(self) -> None:
        self._values.clear()
