"""Chunk of what the latents are read with: channel quantisers, the context model, the camera's angles.

Key groups, the chunks behind it, are written and read by latents/integer_context_model.py.
"""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerv360.entropy.range_coder import read_varint, write_varint
from nerv360.errors import BitstreamError
from nerv360.latents.integer_context_model import IntegerContextModel, read_context_model, write_context_model
from nerv360.latents.quantization import ChannelQuantizer

__all__ = ["read_angles", "read_tables", "write_angles", "write_tables"]

CHANNEL_QUANTIZER = struct.Struct("<ff")
MAX_SCALING = 2.0**100  # of offsets and steps: what is computed from latents stays finite


def write_tables(quantizers: Sequence[ChannelQuantizer], context_model: IntegerContextModel) -> bytes:
    """Offset and step of every channel that has a quantiser of its own, then the context model of all channels."""
    coded = write_context_model(context_model)
    packed = b"".join(CHANNEL_QUANTIZER.pack(quantizer.offset, quantizer.step) for quantizer in quantizers)
    return packed + write_varint(len(coded)) + coded


def read_tables(
    data: bytes, quantizers: int, channels: int
) -> tuple[list[ChannelQuantizer], IntegerContextModel, bytes]:
    """Inverse of `write_tables`, given the numbers of quantisers and of channels; also the bytes behind.

    Raises BitstreamError.
    """
    start = CHANNEL_QUANTIZER.size * quantizers
    if start > len(data):
        raise BitstreamError("truncated latent tables")
    found = [ChannelQuantizer(*pair) for pair in CHANNEL_QUANTIZER.iter_unpack(data[:start])]
    if not all(abs(each) <= MAX_SCALING for quantizer in found for each in (quantizer.offset, quantizer.step)):
        raise BitstreamError("impossible latent tables")
    length, start = read_varint(data, start)
    if start + length > len(data):
        raise BitstreamError("truncated latent tables")
    return found, read_context_model(data[start : start + length], channels), data[start + length :]


def write_angles(angles: NDArray[np.int32]) -> bytes:
    """The camera's angles [frames, 3]: the first, and the difference to the one before, modulo 2^16, deflated."""
    differences = np.diff(angles, axis=0, prepend=np.zeros((1, 3), dtype=np.int32))
    return zlib.compress((differences & 0xFFFF).astype("<u2").tobytes(), 9)


def read_angles(data: bytes, frames: int) -> NDArray[np.int16]:
    """Inverse of `write_angles`, for angles of less than 2^15 steps. Raises BitstreamError."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, 6 * frames + 1)
    except zlib.error:
        raise BitstreamError("impossible camera angles") from None
    if len(raw) != 6 * frames or not inflate.eof or inflate.unused_data:
        raise BitstreamError("impossible camera angles")
    differences = np.frombuffer(raw, dtype="<u2").reshape(frames, 3)
    return np.add.accumulate(differences, axis=0, dtype=np.uint16).view(np.int16)  # modulo 2^16
