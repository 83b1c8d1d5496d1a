"""The compiled core (core/ in the repository), which the player runs too: keys of one segment, coded and painted.

It is WebAssembly: every machine computes the same, and a damaged file can harm nothing outside its memory.
"""

import ctypes
import sys
import threading
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise

import numpy as np
import wasmtime
from numpy.typing import NDArray

from nerv360.errors import BitstreamError
from nerv360.motion.keys import Key
from nerv360.types import Picture

__all__ = ["NODE", "Core", "core_version", "node_grid"]

NODE = 16  # pixels between nodes of the motion field
NO_FRAME = -1
LEAST_SIGNAL_STACK = 1 << 18
ADDRESS = 0xFFFFFFFF  # results are signed
DAMAGED = -1

Vectors = NDArray[np.int16]  # [candidates, rows, columns, 2] of nodes: quarter pixels right and down


def node_grid(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the motion field's nodes."""
    return -(-height // NODE), -(-width // NODE)


class _SignalStack(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


_own = threading.local()  # a signal stack of each thread that needs one


def _keep_signal_stack() -> None:
    """See that wasmtime finds room where it handles traps, which are signals (Linux).

    OpenVINO puts a stack of 11 KiB in its place, which may be freed while it is still there, and puts back what it
    found: so a thread's own stack is never freed.
    """
    if sys.platform != "linux":
        return
    present = _SignalStack()
    _libc().sigaltstack(None, ctypes.byref(present))
    if present.address and present.size < LEAST_SIGNAL_STACK:
        if not hasattr(_own, "memory"):
            _own.memory = ctypes.create_string_buffer(LEAST_SIGNAL_STACK)
        own = _SignalStack(ctypes.addressof(_own.memory), 0, LEAST_SIGNAL_STACK)
        _libc().sigaltstack(ctypes.byref(own), None)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@cache
def _module() -> tuple[wasmtime.Engine, wasmtime.Module, bytes]:
    """The engine, the compiled code, and what contexts begin with."""
    folder, engine = files(__package__), wasmtime.Engine()
    code = wasmtime.Module(engine, folder.joinpath("core.wasm").read_bytes())
    return engine, code, zlib.decompress(folder.joinpath("priors.bin").read_bytes())


def core_version() -> int:
    """A checksum of the code and of what contexts begin with: what it writes depends on both."""
    folder = files(__package__)
    return zlib.crc32(folder.joinpath("core.wasm").read_bytes() + folder.joinpath("priors.bin").read_bytes())


class Core:
    """An instance: a panorama's size, and keys in slots. One thread at a time.

    With `sector`, pixels, keys are a base and sectors of so many pixels each way (core/sectors.c), row by row. Only to
    read them, `encoding=False`, takes memory where they are read.
    Contexts begin with `priors`, or as they were trained (core/train.py). What a damaged file makes impossible (or what
    finds no memory, of which there are 4 GiB) raises BitstreamError.
    """

    MOST_BYTES = 4 << 30

    def __init__(
        self, width: int, height: int, sector: int = 0, encoding: bool = True, priors: bytes | None = None
    ) -> None:
        self.width, self.height = width, height
        engine, code, known = _module()
        self._store = wasmtime.Store(engine)
        self._exports = wasmtime.Instance(self._store, code, []).exports(self._store)
        self._buffers: dict[str, tuple[int, int]] = {}
        learned = self._put("priors", np.frombuffer(priors or known, np.uint8))
        self._call("begin", width, height, sector, encoding, learned)
        self.sectors = self._call("sector_count")

    @property
    def memory_bytes(self) -> int:
        """Bytes that the instance's memory reaches to by now."""
        return self._memory.data_len(self._store)

    @property
    def _memory(self) -> wasmtime.Memory:
        return self._exports["memory"]  # type: ignore[return-value]

    def decode(self, slot: int, key: Key, step: int, data: bytes) -> None:
        """Read a key or its base, with a quantiser's step in 1/16 of a level, into a slot.

        Its references must be in slots.
        """
        self._call(
            "decode_key", *self._place(slot, key), step, self._put("input", np.frombuffer(data, np.uint8)), len(data)
        )

    def decode_sector(self, slot: int, sector: int, data: bytes) -> None:
        """Read a sector of a key. Nothing happens where it is not known of the key's references, which are in slots.

        Raises BitstreamError where its bytes are damaged.
        """
        status = self._call("decode_sector", slot, sector, self._put("input", np.frombuffer(data, np.uint8)), len(data))
        if status == DAMAGED:
            raise BitstreamError(f"damaged: sector {sector} of a key ends as none does")

    def encode(
        self,
        slot: int,
        key: Key,
        step: int,
        picture: Picture,
        candidates: Sequence[Vectors],  # for each reference: vectors that are tried first
        rate_weight: float,  # of a bit, in squared steps
        motion_weight: float,  # of a bit of motion, in squared steps
    ) -> tuple[bytes, list[bytes]]:
        """Write a key [height, width, 3], or its base, and its sectors; its slot then holds what a decoder has."""
        self._call("set_source", self._put("picture", picture))
        tried = np.stack(candidates) if candidates else np.zeros((0, 0), np.int16)
        room, weights = 3 * self.width * self.height + 65536, (rate_weight, motion_weight)
        base, fine = self._reserved("output", room), self._reserved("fine", room if self.sectors else 0)
        lengths = self._reserved("lengths", 4 * self.sectors)
        vectors = self._put("candidates", tried)
        place = (*self._place(slot, key), step)
        size = self._call("encode_key", *place, *weights, vectors, tried.shape[1], room, base, fine, lengths)
        ends = np.cumsum(self._view(lengths, 4 * self.sectors).view(np.uint32)).tolist()
        sectors = self._view(fine, ends[-1] if ends else 0).tobytes()
        return self._view(base, size).tobytes(), [sectors[a:b] for a, b in pairwise([0, *ends])]

    def ask(self, slot: int, top: int, left: int, height: int, width: int) -> bool:
        """Find out which sectors a region of a key's picture lacks, as far as motion tells by now; columns go round."""
        return bool(self._call("ask_sectors", slot, top, left, height, width))

    def asked(self, slot: int) -> list[int]:
        """The sectors of a key that were found by `ask`."""
        return self._view(self._call("asked", slot) & ADDRESS, self.sectors).nonzero()[0].tolist()

    def unknown(self, slot: int) -> list[int]:
        """The sectors of a key that are not read."""
        return (self._view(self._call("known", slot) & ADDRESS, self.sectors) == 0).nonzero()[0].tolist()

    def write_lengths(self, keys: Sequence[Key], lengths: NDArray[np.uint32]) -> bytes:
        """Code the bytes of sectors [keys, sectors]."""
        room = 64 + 4 * lengths.size
        output, values = self._reserved("output", room), self._put("lengths", lengths.view(np.uint8))
        size = self._call("write_lengths", self._put_references(keys), len(keys), values, output, room)
        return self._view(output, size).tobytes()

    def read_lengths(self, keys: Sequence[Key], data: bytes) -> NDArray[np.uint32]:
        """Return the bytes of sectors [keys, sectors]."""
        size = 4 * len(keys) * self.sectors
        values, coded = self._reserved("lengths", size), self._put("input", np.frombuffer(data, np.uint8))
        self._call("read_lengths", self._put_references(keys), len(keys), coded, len(data), values)
        return self._view(values, size).view(np.uint32).reshape(len(keys), self.sectors).copy()

    def pixels(self, slot: int, top: int, left: int, height: int, width: int) -> Picture:
        """RGB [height, width, 3] of a key's picture, out of rows of the panorama; columns go round."""
        output = self._reserved("pixels", 3 * height * width)
        self._call("read_pixels", slot, top, left, height, width, output)
        return self._view(output, 3 * height * width).reshape(height, width, 3).copy()

    def _put_references(self, keys: Sequence[Key]) -> int:
        return self._put("references", np.array([len(key.references) for key in keys], np.uint8))

    def _place(self, slot: int, key: Key) -> tuple[int, ...]:
        return (slot, key.frame, key.level, *(*key.references, NO_FRAME, NO_FRAME)[:2])

    def _call(self, name: str, *arguments: float) -> int:
        _keep_signal_stack()
        try:
            return self._exports[name](self._store, *arguments)  # type: ignore[operator]
        except wasmtime.Trap:
            reason = "its bits end too early, or memory does, of which there are 4 GiB"
            raise BitstreamError(f"a key of {self.width}x{self.height} pixels cannot be coded: {reason}") from None

    def _reserved(self, name: str, size: int) -> int:
        """Where a buffer of at least so many bytes lies."""
        address, room = self._buffers.get(name, (0, 0))
        if room < size:
            room = max(size, 2 * room)  # what was reserved is not given back
            address = self._call("reserve", room) & ADDRESS
            self._buffers[name] = address, room
        return address

    def _view(self, address: int, size: int) -> NDArray[np.uint8]:
        start = ctypes.addressof(self._memory.data_ptr(self._store).contents) + address
        return np.ctypeslib.as_array(ctypes.cast(start, ctypes.POINTER(ctypes.c_uint8)), (size,))

    def _put(self, name: str, values: NDArray[np.uint8] | Vectors) -> int:
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        address = self._reserved(name, data.nbytes)
        self._view(address, data.nbytes)[:] = data
        return address
