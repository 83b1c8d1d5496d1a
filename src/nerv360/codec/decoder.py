"""A .nerv360 file -> any view of any frame."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
import torch
from msgspec.structs import astuple
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nerv360.bitstream.container import Container, Segment
from nerv360.bitstream.header import SegmentHeader
from nerv360.bitstream.layout import key_count, keys_at, keys_per_chunk, stage_strides
from nerv360.codec.chunks import LatentTables, read_angles, read_part, read_tables, read_weights
from nerv360.codec.quantize import dequantize, dequantize_latent
from nerv360.config import MODELS, ModelConfig
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.geometry.orientation import Angles, orientation, turned
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.models.base import Network, build, channels_last, decoder_tensors
from nerv360.models.memory import check_memory
from nerv360.models.panoramic import PanoramaDecoder
from nerv360.video.clip import Colour

__all__ = ["MAX_LATENT_VALUES", "Decoder", "latent_values", "load_network", "open_file", "stitch"]

Picture = NDArray[np.uint8]
Key = TypeVar("Key")
Value = TypeVar("Value")

PARTS_KEPT, NETWORKS_KEPT = 2, 2  # parts of each latent
MAX_PARAMETERS = 1 << 27
MAX_LATENT_VALUES = 1 << 27
MAX_FEATURES = 1 << 29
LEAST_BYTES_PER_PARAMETER = 1 / 64
FOCAL_TOLERANCE = 0.15  # where the two ways are level, on the short side: benchmarks/focal.tsv
PATCH_FOV_DEG = 60.0
BAND = 128
MAX_NATIVE_PIXELS = 1 << 23  # of a view that is decoded larger than asked for


@dataclass
class SegmentNetwork:
    """A segment's network and what its latents are read with."""

    model: Network
    tables: list[LatentTables]
    angles: Angles | None


def open_file(path: Path | str, device: str = "cpu") -> "Decoder":
    """Open a .nerv360 file for decoding.

    Raises BitstreamError for a file that is damaged, foreign, or of a newer version.
    """
    return Decoder(Container(path), torch.device(device))


class Decoder:
    """An open .nerv360 file. Reads and keeps what the views asked for need, and no more; a context manager.

    file ─ chunks of frame t ─ latents ─ windows ─ network ─ viewport
    """

    def __init__(self, container: Container, device: torch.device) -> None:
        self.container = container
        self.device = device
        self._networks: OrderedDict[int, SegmentNetwork] = OrderedDict()
        self._parts: OrderedDict[tuple[int, int], Tensor] = OrderedDict()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.container.close()
        self._networks.clear()
        self._parts.clear()

    @property
    def width(self) -> int:
        """Width of the panorama in pixels."""
        return self.container.header.width

    @property
    def height(self) -> int:
        """Height of the panorama in pixels."""
        return self.container.header.height

    @property
    def frames(self) -> int:
        return self.container.header.frames

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return Fraction(self.container.header.rate_numerator, self.container.header.rate_denominator)

    @property
    def colour(self) -> Colour:
        """The source's colour description."""
        return Colour(*astuple(self.container.header.colour))

    def native_view(self, frame_index: int = 0) -> Viewport:
        """The viewport that the frame's network was trained on, looking ahead."""
        header = self._segment(frame_index).header
        return Viewport(hfov_deg=header.hfov_deg[0], width=header.view_width, height=header.view_height)

    def viewport(self, frame_index: int, view: Viewport) -> Picture:
        """RGB picture [view.height, view.width, 3] of a frame.

        The network is run at a focal length that it was trained for; where the view asks for another one (by more
        than 15 %), it is decoded at the nearest and resampled. From a network that decodes panoramas, it is cut.

        Raises ArgumentError for a frame outside the video, BitstreamError where the file is damaged.
        """
        segment = self._segment(frame_index)
        return _to_picture(self._decode(segment, frame_index, view))

    def panorama(self, frame_index: int) -> Picture:
        """RGB picture [height, width, 3] of a whole frame; most networks decode it as overlapping viewports."""
        segment = self._segment(frame_index)
        network = self._network(segment)
        if isinstance(network.model, PanoramaDecoder):
            return _to_picture(self._whole(segment, network, network.model, frame_index))
        patches = [(view, self._decode(segment, frame_index, view)) for view in _patches(segment.header)]
        return _to_picture(stitch(patches, self.width, self.height))

    def _segment(self, frame_index: int) -> Segment:
        if not 0 <= frame_index < self.frames:
            raise ArgumentError(f"frame {frame_index}: the video has frames 0..{self.frames - 1}")
        return self.container.segment_of(frame_index)

    def _network(self, segment: Segment) -> SegmentNetwork:
        def load() -> SegmentNetwork:
            network = load_network(self.container, segment, self.device)
            check_memory(network.model.config, "decoding", self.device)
            return network

        return _kept(self._networks, segment.first_frame, NETWORKS_KEPT, load)

    @torch.inference_mode()
    def _whole(self, segment: Segment, network: SegmentNetwork, model: PanoramaDecoder, frame_index: int) -> Tensor:
        """The panorama [1, 3, H, W], values 0..255."""
        index = frame_index - segment.first_frame
        everything = Window.whole(model.config.grid_height, model.config.grid_width)
        embedding = self._latent(segment, network, 0, index, everything)
        return model.panorama([embedding], (index + 0.5) / segment.frames).float() * 255

    @torch.inference_mode()
    def _decode(self, segment: Segment, frame_index: int, view: Viewport) -> Tensor:
        """The view [1, 3, h, w], values 0..255."""
        network = self._network(segment)
        native = view if isinstance(network.model, PanoramaDecoder) else _native(view, segment.header)
        _check_features(native, network.model.config)
        index = frame_index - segment.first_frame
        if network.angles is not None:
            native = turned(native, orientation(network.angles[index]))
        latents = [
            self._latent(segment, network, latent, index, window)
            for latent, window in enumerate(network.model.windows(native))
        ]
        picture = network.model.decode(latents, (index + 0.5) / segment.frames, native).float() * 255
        if (native.width, native.height) != (view.width, view.height):
            picture = functional.interpolate(
                picture, (view.height, view.width), mode="bilinear", antialias=True, align_corners=False
            )
        return picture

    def _latent(self, segment: Segment, network: SegmentNetwork, latent: int, frame: int, window: Window) -> Tensor:
        """A window [1, channels, rows, columns] of a latent at a frame of the segment."""
        mixed: Tensor | float = 0.0
        for key, weight in keys_at(segment.latents[latent].period, frame):
            chunk = segment.chunk_of(latent, key)
            values = _kept(
                self._parts,
                (segment.first_frame, chunk),
                PARTS_KEPT * len(segment.latents),
                partial(self._read_part, segment, network, chunk),
            )
            mixed = mixed + weight * window.crop(values[key - segment.parts[chunk - 2].first_key][None])
        assert isinstance(mixed, Tensor)
        return mixed.contiguous(memory_format=torch.channels_last)

    def _read_part(self, segment: Segment, network: SegmentNetwork, chunk: int) -> Tensor:
        """Keys [keys, channels, rows, columns] of a latent."""
        part = segment.parts[chunk - 2]
        rows, columns = segment.latents[part.latent].size(self.width, self.height)
        tables = network.tables[part.latent]
        try:
            symbols = read_part(self.container.chunk(segment, chunk), tables, part.keys, rows, columns)
        except BitstreamError as error:
            raise BitstreamError(f"{self.container.path}: {error}") from None
        channels = [dequantize_latent(symbols[:, i], scaling) for i, (scaling, _) in enumerate(tables)]
        return torch.from_numpy(np.stack(channels, axis=1)).to(self.device)


def load_network(container: Container, segment: Segment, device: torch.device) -> SegmentNetwork:
    """Read a segment's decoder weights and latent tables into a network.

    Raises BitstreamError where the header and the chunks do not fit each other.
    """
    config = _model_config(container, segment.header)
    values = latent_values(config, segment.frames, segment.header.group_size)
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in decoder_tensors(build(config)).items()}
    parameters = sum(math.prod(shape) for shape in shapes.values())
    data = container.chunk(segment, 0)
    if parameters > MAX_PARAMETERS or len(data) < parameters * LEAST_BYTES_PER_PARAMETER:
        raise BitstreamError(f"{container.path}: {parameters} parameters in {len(data)} bytes: impossible")
    if values > MAX_LATENT_VALUES:
        raise BitstreamError(f"{container.path}: latents of {values} values; at most {MAX_LATENT_VALUES} are decoded")
    try:
        weights = read_weights(data, shapes)
        channels = sum(latent.channels for latent in segment.latents)
        found, rest = read_tables(container.chunk(segment, 1), channels)
        if rest and not segment.header.oriented:
            raise BitstreamError("latent tables go on behind the last")
        angles = read_angles(rest, segment.frames) if segment.header.oriented else None
    except BitstreamError as error:
        raise BitstreamError(f"{container.path}: {error}") from None
    flat = iter(found)
    tables = [[next(flat) for _ in range(latent.channels)] for latent in segment.latents]
    model = build(config)
    model.load_state_dict({name: torch.from_numpy(dequantize(tensor)) for name, tensor in weights.items()})
    return SegmentNetwork(channels_last(model.eval().to(device)), tables, angles)


def latent_values(config: ModelConfig, frames: int, group_size: int) -> int:
    """Numbers in the largest parts of all latents: what showing one frame takes."""
    return sum(
        math.prod(latent.size(config.width, config.height))
        * latent.channels
        * min(key_count(latent.period, frames), keys_per_chunk(latent.period, group_size))
        for latent in config.latents
    )


def _check_features(view: Viewport, config: ModelConfig) -> None:
    """Raises ArgumentError for a view that would take too much memory."""
    strides = stage_strides(config.decoder_strides)
    largest = max(
        (width + latents) * view.width * view.height / stride**2
        for width, latents, stride in zip(config.channels, config.entering(), strides, strict=True)
    )
    if largest > MAX_FEATURES:
        raise ArgumentError(
            f"viewport {view.width}x{view.height}: this network needs {largest:.3g} numbers for it, at most "
            f"{MAX_FEATURES} are allowed; ask for a smaller view"
        )


def _model_config(container: Container, header: SegmentHeader) -> ModelConfig:
    if header.model not in MODELS or (header.model == "nerv360-grid") != bool(header.grids):
        raise BitstreamError(
            f"{container.path}: model {header.model!r} is not known to this version, or not with these grids"
        )
    if header.model.startswith("hnerv") and math.prod(header.encoder_strides) != math.prod(header.decoder_strides):
        raise BitstreamError(f"{container.path}: model {header.model!r} must draw as many pixels as it was made from")
    return ModelConfig(
        width=container.header.width,
        height=container.header.height,
        channels=tuple(header.channels),
        model=header.model,
        encoder_strides=tuple(header.encoder_strides),
        decoder_strides=tuple(header.decoder_strides),
        kernels=tuple(header.kernels),
        embedding_channels=header.embedding_channels,
        expand_first=header.expand_first,
        conditions=tuple(header.conditions),
        pe_base=header.pe_base,
        pe_frequencies=header.pe_frequencies,
        grids=tuple(header.latents()) if header.grids else (),
    )


def _native(view: Viewport, header: SegmentHeader) -> Viewport:
    """The view itself, or the same field of view on the pixels that the network was trained to give it."""
    shortest, longest = (
        Viewport(hfov_deg=hfov, width=header.view_width, height=header.view_height).focal[0]
        for hfov in reversed(header.hfov_deg)
    )
    scales = []
    for length in view.focal:
        nearest = min(max(length, shortest), longest)
        scales.append(1.0 if abs(nearest / length - 1) <= FOCAL_TOLERANCE else nearest / length)
    pixels = view.width * view.height
    shrink = min(1.0, math.sqrt(max(MAX_NATIVE_PIXELS, pixels) / (pixels * math.prod(scales))))
    sides = [
        max(1, round(side * scale * shrink)) for side, scale in zip((view.width, view.height), scales, strict=True)
    ]
    return view if sides == [view.width, view.height] else view.resized(*sides)


def _patches(header: SegmentHeader) -> Sequence[Viewport]:
    """Square viewports that cover the sphere with overlap, at the focal length of training."""
    focal = Viewport(hfov_deg=header.hfov_deg[0], width=header.view_width, height=header.view_height).focal[0]
    side = max(1, round(2 * focal * math.tan(math.radians(PATCH_FOV_DEG / 2))))
    look = Viewport(hfov_deg=PATCH_FOV_DEG, width=side, height=side)
    rings = ((-90, 1), (-45, 6), (0, 8), (45, 6), (90, 1))
    return [replace(look, yaw_deg=360 * k / n - 180, pitch_deg=pitch) for pitch, n in rings for k in range(n)]


def stitch(patches: Sequence[tuple[Viewport, Tensor]], width: int, height: int) -> Tensor:
    """Square viewports [1, C, h, w] -> panorama [1, C, height, width], blended with weights that fall to the edges."""
    bands = []
    for top in range(0, height, BAND):
        rows = torch.arange(top, min(top + BAND, height), dtype=torch.float32) + 0.5
        y, x = torch.meshgrid(rows, torch.arange(width, dtype=torch.float32) + 0.5, indexing="ij")
        rays = lonlat_to_ray(*pixel_to_lonlat(x, y, width, height))
        total, weights = torch.zeros(1), torch.zeros(1)
        for view, picture in patches:
            plane, weight = _project(view, rays)
            sampled = functional.grid_sample(
                picture, plane[None].to(picture), align_corners=False, padding_mode="border"
            )
            total, weights = total + weight.to(picture) * sampled, weights + weight.to(picture)
        bands.append(total / weights)
    return torch.cat(bands, dim=-2)


def _project(view: Viewport, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Rays [h, w, 3] -> positions [h, w, 2] on the view's picture in [-1, 1], and weights, 0 outside it."""
    right, up, forward = _axes(view).to(rays).unbind(0)
    depth = (rays @ forward).clamp(min=1e-6)
    half = math.tan(math.radians(view.hfov_deg / 2))
    plane = torch.stack((rays @ right, -(rays @ up)), dim=-1) / (depth * half)[..., None]
    weight = (1 - plane.abs().amax(dim=-1)).clamp(min=0) * (rays @ forward > 0)
    return plane.clamp(-2, 2), weight


def _axes(view: Viewport) -> Tensor:
    """The camera's right, up and forward directions [3, 3], read off its rays."""
    corners = viewport_rays(replace(view, width=2, height=2, hfov_deg=90, vfov_deg=90), dtype=torch.float64)[0]
    right = corners[0, 1] - corners[0, 0]
    up = corners[0, 0] - corners[1, 0]
    return functional.normalize(torch.stack((right, up, corners.sum(dim=(0, 1)))), dim=-1)


def _to_picture(picture: Tensor) -> Picture:
    """[1, 3, h, w] in 0..255 -> uint8 [h, w, 3]."""
    rounded = picture[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.cpu().numpy())


def _kept(cache: "OrderedDict[Key, Value]", key: Key, most: int, make: Callable[[], Value]) -> Value:
    """The value of a bounded cache, made where it is missing; the one not used for longest goes."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > most:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
