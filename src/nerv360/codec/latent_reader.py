"""Latents of a segment, read from its file key group by key group, and kept."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerv360.backends.cache import LRUCache
from nerv360.bitstream.container import Container, Segment
from nerv360.codec.load_network import SegmentNetwork
from nerv360.errors import BitstreamError
from nerv360.geometry.window import Window
from nerv360.latents.grid import FrameTime, interpolation_weights
from nerv360.latents.integer_context_model import read_latent
from nerv360.latents.quantization import dequantize_latent

__all__ = ["LatentReader"]

GROUPS_KEPT, BYTES_KEPT = 2, 64 << 20  # key groups per latent; more where all take no more than so many bytes


class LatentReader:
    """Windows of the keys around a frame, as real numbers on a device."""

    def __init__(self, container: Container, segment: Segment, loaded: SegmentNetwork, device: torch.device) -> None:
        self._container, self._segment, self._device = container, segment, device
        self._quantizers, self._context_model = loaded.quantizers, loaded.context_model
        self._groups: LRUCache[int, Tensor] = LRUCache(
            GROUPS_KEPT * len(segment.latents), BYTES_KEPT, lambda group: group.nbytes
        )

    def window(self, latent: int, at: FrameTime, window: Window) -> Tensor:
        """A window [keys, channels, rows, columns] of the keys of a latent around a frame."""
        keys = interpolation_weights(self._segment.latents[latent].key_interval, at)
        return torch.cat([self._key(latent, key, window) for key, _ in keys])

    def key(self, latent: int, key: int) -> NDArray[np.float32]:
        """A whole key [channels, rows, columns] of a latent."""
        size = self._segment.latents[latent].size(self._container.header.width, self._container.header.height)
        return self._key(latent, key, Window.whole(*size))[0].cpu().numpy()

    def preload(self, at: FrameTime) -> None:
        """Have the key groups of a frame in memory."""
        for latent, each in enumerate(self._segment.latents):
            for key, _ in interpolation_weights(each.key_interval, at):
                self._group(self._segment.chunk_of(latent, key))

    def _key(self, latent: int, key: int, window: Window) -> Tensor:
        chunk = self._segment.chunk_of(latent, key)
        first_key = self._segment.key_groups[chunk - 2].first_key
        symbols = window.crop(self._group(chunk)[key - first_key][None]).numpy()
        quantizers = enumerate(self._quantizers[latent])
        channels = [dequantize_latent(symbols[:, index], quantizer) for index, quantizer in quantizers]
        return torch.from_numpy(np.stack(channels, axis=1)).to(self._device)

    def _group(self, chunk: int) -> Tensor:
        return self._groups.get(chunk, partial(self._read_group, chunk))

    def _read_group(self, chunk: int) -> Tensor:
        """Integers of a key group [keys, channels, rows, columns], in as few bytes as they fit."""
        group, header, latents = self._segment.key_groups[chunk - 2], self._container.header, self._segment.latents
        shape = (group.keys, latents[group.latent].channels, *latents[group.latent].size(header.width, header.height))
        first_channel = sum(latent.channels for latent in latents[: group.latent])
        try:
            symbols = read_latent(
                self._container.chunk(self._segment, chunk), self._context_model, first_channel, shape
            )
        except BitstreamError as error:
            raise BitstreamError(f"{self._container.path}: {error}") from None
        small = max(symbols.max(), -int(symbols.min())) <= np.iinfo(np.int8).max
        return torch.from_numpy(symbols.astype(np.int8) if small else symbols)
