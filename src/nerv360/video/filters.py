"""FFmpeg's filters, on pictures of PyAV."""

from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from threading import Lock

import av
from av.filter import Graph

__all__ = ["cropped", "deinterlaced", "filtered"]

DEINTERLACE = ("bwdif=mode=send_frame:deint=interlaced",)
Kind = tuple[int, int, str, int, int]  # width, height, pixel format, colour space, range: a graph is for one


class _Chain:
    """Filters one behind another, for pictures of one kind."""

    def __init__(self, kind: Kind, filters: tuple[str, ...]) -> None:
        width, height, pixel_format, space, colour_range = kind
        self._graph = Graph()
        source = f"{width}x{height}:pix_fmt={pixel_format}:time_base=1/1:colorspace={space}:range={colour_range}"
        named = (each.partition("=") for each in (f"buffer=video_size={source}", *filters, "buffersink"))
        nodes = [self._graph.add(name, arguments or None) for name, _, arguments in named]
        self._graph.link_nodes(*nodes).configure()
        self._lock = Lock()

    def put(self, picture: av.VideoFrame | None) -> list[av.VideoFrame]:
        """One picture in, or the end; all that come out."""
        found = []
        with self._lock:
            self._graph.vpush(picture)
            while True:
                try:
                    found.append(self._graph.vpull())
                except (av.BlockingIOError, av.EOFError):
                    return found


def _kind(picture: av.VideoFrame) -> Kind:
    return picture.width, picture.height, picture.format.name, int(picture.colorspace), int(picture.color_range)


@lru_cache(maxsize=3)  # tables of a conversion take seconds to make, and up to a GB
def _chain(kind: Kind, filters: tuple[str, ...]) -> _Chain:
    return _Chain(kind, filters)


def filtered(picture: av.VideoFrame, filters: tuple[str, ...]) -> av.VideoFrame:
    """A picture behind filters, each as FFmpeg has them, `name=arguments`, that look at no other picture."""
    if not filters:
        return picture
    (result,) = _chain(_kind(picture), filters).put(picture)
    return result


def cropped(picture: av.VideoFrame, left: int, top: int, width: int, height: int) -> av.VideoFrame:
    """A part of a picture, its samples where they are."""
    (part,) = _Chain(_kind(picture), (f"crop={width}:{height}:{left}:{top}",)).put(picture)
    return part


def deinterlaced(numbered: Iterator[tuple[int, av.VideoFrame]]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Pictures with their numbers; of those that are interlaced, the missing lines are made by bwdif."""
    chain: _Chain | None = None
    kind: Kind | None = None
    numbers: deque[int] = deque()
    for number, picture in numbered:
        if chain is None or kind != _kind(picture):
            yield from _ended(chain, numbers)
            kind = _kind(picture)
            chain = _Chain(kind, DEINTERLACE)
        numbers.append(number)
        for result in chain.put(picture):
            yield numbers.popleft(), result
    yield from _ended(chain, numbers)


def _ended(chain: _Chain | None, numbers: deque[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    for result in chain.put(None) if chain is not None else ():
        yield numbers.popleft(), result
