"""A segment of nerv360-grid whose views shaders sample and draw: keys around a frame are textures."""

from dataclasses import dataclass

import moderngl

from nerv360.backends.cache import LRUCache
from nerv360.backends.opengl import GridShader, Key
from nerv360.bitstream.container import Container, Segment
from nerv360.codec.network_decoder import NetworkDecoder
from nerv360.codec.resampling import resized
from nerv360.codec.segment_decoder import Drawing
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import interpolation_weights, key_frame_index
from nerv360.types import Picture

__all__ = ["ShaderDecoder"]

TEXTURE_BYTES = 1 << 27  # more keys are kept than those around two frames while all take no more
BYTES_PER_NUMBER = 2


class ShaderDecoder(NetworkDecoder):
    """Decodes as for any network, but shaders sample and draw.

        chunks of frame t ─ keys ─ textures ─ sample along the rays, draw ─ viewport
        └─────────── prepare ─────────────┘   └─────── shaders ────────┘

    A view that is too large for the GPU is drawn by PyTorch, strip by strip.
    """

    def __init__(
        self, container: Container, segment: Segment, backend: str, device: str, precision: str | None
    ) -> None:
        super().__init__(container, segment, "torch", device, precision)
        self.shader = GridShader(self.network)
        self._textures: LRUCache[tuple[int, int], moderngl.TextureArray] = LRUCache(
            2 * len(segment.latents), TEXTURE_BYTES, _bytes
        )

    def prepare(self, frame: int, view: Viewport, draft: bool = False) -> Drawing:
        native = self.native(view, draft)
        if not self.shader.draws(native):
            return super().prepare(frame, view, draft)
        keys = [self._keys(latent, frame) for latent in range(len(self.segment.latents))]
        return ShaderDrawing(self.shader, keys, self.world_view(frame, native), view)

    def _keys(self, latent: int, frame: int) -> list[Key]:
        interval, at = self.segment.latents[latent].key_interval, self.at(frame)
        return [
            Key(self._texture(latent, key), weight, interval and frame - key_frame_index(interval, key, at.frames))
            for key, weight in interpolation_weights(interval, at)
        ]

    def _texture(self, latent: int, key: int) -> moderngl.TextureArray:
        return self._textures.get((latent, key), lambda: self.shader.upload(self._reader.key(latent, key)))


def _bytes(texture: moderngl.TextureArray) -> int:
    return BYTES_PER_NUMBER * texture.components * texture.width * texture.height * texture.layers


@dataclass(frozen=True)
class ShaderDrawing:
    """A view of a frame, ready to be drawn by shaders."""

    shader: GridShader
    keys: list[list[Key]]
    world: Viewport  # what is drawn
    view: Viewport  # what is wanted

    def draw(self) -> Picture:
        return resized(self.shader.draw(self.keys, self.world), self.view.width, self.view.height)
