"""A bounded cache."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["LRUCache"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class LRUCache(Generic[Key, Value]):
    """A cache of `max_items` values, or of more while their sizes add up to at most `max_size`; the least recently used
    value is evicted first. Any thread may use it; one that needs a value while another makes one waits."""

    def __init__(
        self, max_items: int, max_size: float = 0, size_of: Callable[[Value], float] = lambda value: math.inf
    ) -> None:
        self.max_items, self.max_size, self.size_of = max_items, max_size, size_of
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made by `make` where it is missing."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
                while len(self) > self.max_items and sum(map(self.size_of, self._values.values())) > self.max_size:
                    self._values.popitem(last=False)
            self._values.move_to_end(key)
            return self._values[key]

    def discard(self, key: Key) -> None:
        with self._lock:
            self._values.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
