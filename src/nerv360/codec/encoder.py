"""A video -> a fitted model -> a .nerv360 file, which is read again before it gets its name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nerv360.bitstream import header
from nerv360.bitstream.container import Container, write_container
from nerv360.bitstream.entropy import FrequencyTable, Integers
from nerv360.bitstream.layout import parts
from nerv360.codec.chunks import (
    LatentTables,
    read_part,
    read_weights,
    write_angles,
    write_part,
    write_tables,
    write_weights,
)
from nerv360.codec.network import MAX_LATENT_VALUES, latent_values, load_network
from nerv360.codec.quantize import QuantizedTensor, quantize, quantize_embedding, quantize_grid
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.geometry.orientation import Angles, orientations
from nerv360.layers.grids import GRID_STEP
from nerv360.models.base import Network, build, configure, decoder_tensors, latents_of
from nerv360.models.memory import enough_memory
from nerv360.storage import Place, beside, name_of, remove
from nerv360.training.checkpoint import Progress
from nerv360.training.fit import fit
from nerv360.video.clip import Clip
from nerv360.video.writer import replacing

__all__ = ["Encoded", "checkpoint_path", "encode_clip", "estimate_bytes", "write_model"]

Report = Callable[[Progress, int, Network], None]
Latents = NDArray[np.float32]  # [keys, channels, rows, columns]


@dataclass(frozen=True)
class Encoded:
    """What an encoding came to."""

    path: Place
    size: int  # bytes on disk
    frames: int
    bitrate: float  # bits per second
    decoder_size: int  # parameters
    training_psnr_db: float  # running mean over the last training viewports
    seconds: float  # of fitting, over all runs


def encode_clip(
    clip: Clip,
    output: Place,
    config: EncodingConfig,
    device: torch.device,
    report: Report,
    looked_at: Callable[[int], None],
) -> Encoded:
    """Fit the configured network to the clip and write the file.

    Interrupted at any moment, the same call goes on from the checkpoint beside the output (`checkpoint_path`),
    and ends with the same bytes. `looked_at` is told of every frame whose camera angles have been found, before the
    fitting begins. Raises TrainingError, OutputError, ArgumentError, OutOfMemory.
    """
    torch.manual_seed(config.seed)
    shape = configure(config, clip.width, clip.height)
    values = latent_values(shape, clip.frames, config.group_size)
    if values > MAX_LATENT_VALUES:
        raise ArgumentError(
            f"{clip.width}x{clip.height}: its latents would have {values} values, at most {MAX_LATENT_VALUES} can be "
            "decoded; scale the panorama with --size"
        )
    model = build(shape, clip.frames).to(device)
    checkpoint = checkpoint_path(output)
    with enough_memory(shape, "training", device):
        progress, angles = fit(
            model,
            clip,
            config,
            checkpoint,
            lambda state, steps: report(state, steps, model),
            lambda: orientations(clip, looked_at) if config.grids else None,
        )
    size = write_model(model, fitted_latents(model, clip), clip, config, output, angles)
    remove(checkpoint)
    parameters = sum(tensor.numel() for tensor in decoder_tensors(model).values())
    bitrate = 8 * size * float(clip.frame_rate) / clip.frames
    return Encoded(output, size, clip.frames, bitrate, parameters, progress.psnr_db, progress.seconds)


def checkpoint_path(output: Place) -> Place:
    """Where an unfinished encoding of `output` is kept."""
    return beside(output, name_of(output) + ".checkpoint")


@torch.inference_mode()
def fitted_latents(model: Network, clip: Clip) -> list[Latents]:
    """The latents of a clip [keys, channels, rows, columns]."""
    device = next(model.parameters()).device
    panoramas = (torch.from_numpy(frame).permute(2, 0, 1)[None].to(device) for frame in clip)
    return [latent.cpu().numpy() for latent in latents_of(model, panoramas)]


def write_model(
    model: Network,
    latents: Sequence[Latents],
    clip: Clip,
    config: EncodingConfig,
    output: Place,
    angles: Angles | None = None,
) -> int:
    """Quantise, code and write one segment; read it again and compare every integer. Returns the file's size."""
    weights = _quantized(model, config.weight_bits)
    symbols, tables = _quantized_latents(latents, config)
    layout = parts(model.config.latents, clip.frames, config.group_size)
    pieces = [(symbols[p.latent][p.first_key : p.first_key + p.keys], tables[p.latent]) for p in layout]
    side = write_tables([table for latent in tables for table in latent])
    if angles is not None:
        side += write_angles(angles)
    chunks = [write_weights(weights), side, *(write_part(*piece) for piece in pieces)]
    segment = _segment_header(model, clip, config, oriented=angles is not None)
    data = write_container(_file_header(clip), iter([(segment, chunks)]))
    with replacing(output) as partial:
        partial.write_bytes(data)
        _read_again(partial, weights, tables, pieces, angles)
    return len(data)


def estimate_bytes(model: Network, frames: int, config: EncodingConfig) -> int:
    """About what a file would weigh now: coded weights and grids; embeddings, not yet known, at their full bits."""
    weights = len(write_weights(_quantized(model, config.weight_bits)))
    if not config.grids:
        embedding = model.config.embedding
        rows, columns = embedding.size(model.config.width, model.config.height)
        return weights + frames * rows * columns * embedding.channels * config.embedding_bits // 8
    symbols, tables = _quantized_latents([latent.cpu().numpy() for latent in latents_of(model, ())], config)
    return weights + sum(len(write_part(*part)) for part in zip(symbols, tables, strict=True))


def _quantized(model: nn.Module, bits: int) -> dict[str, QuantizedTensor]:
    tensors = decoder_tensors(model)
    return {name: quantize(tensor.float().cpu().numpy(), bits) for name, tensor in tensors.items()}


def _quantized_latents(latents: Sequence[Latents], config: EncodingConfig) -> tuple[list[Integers], list[LatentTables]]:
    """Grids are multiples of their step; embeddings, fitted without regard to rate, are spread over their range."""
    symbols, tables = [], []
    for latent in latents:
        channels = latent.swapaxes(0, 1)
        if config.grids:
            pairs = [quantize_grid(channel, GRID_STEP) for channel in channels]
        else:
            pairs = [quantize_embedding(channel, config.embedding_bits) for channel in channels]
        symbols.append(np.stack([integers for integers, _ in pairs], axis=1))
        tables.append([(scaling, FrequencyTable.of(integers)) for integers, scaling in pairs])
    return symbols, tables


def _file_header(clip: Clip) -> header.FileHeader:
    colour = clip.colour
    return header.FileHeader(
        width=clip.width,
        height=clip.height,
        frames=clip.frames,
        rate_numerator=clip.frame_rate.numerator,
        rate_denominator=clip.frame_rate.denominator,
        colour=header.Colour(colour.primaries, colour.transfer, colour.matrix, colour.full_range),
        segments=[header.SegmentEntry(clip.frames, 1, 1, 0)],
    )


def _segment_header(model: Network, clip: Clip, config: EncodingConfig, oriented: bool) -> header.SegmentHeader:
    shape, (view_width, view_height) = model.config, config.training_view(clip.width)
    return header.SegmentHeader(
        model=shape.model,
        channels=list(shape.channels),
        encoder_strides=list(shape.encoder_strides),
        decoder_strides=list(shape.decoder_strides),
        kernels=list(shape.kernels),
        embedding_channels=shape.embedding_channels,
        expand_first=shape.expand_first,
        last_block=shape.last_block,
        conditions=list(shape.conditions),
        pe_base=shape.pe_base,
        pe_frequencies=shape.pe_frequencies,
        view_width=view_width,
        view_height=view_height,
        hfov_deg=config.hfov_deg,
        roll_deg=config.roll_deg,
        group_size=config.group_size,
        oriented=oriented,
        grids=[header.Grid(grid.stride, grid.channels, grid.period) for grid in shape.grids],
        chunks=[],
    )


def _read_again(
    path: Path,
    weights: Mapping[str, QuantizedTensor],
    tables: list[LatentTables],
    pieces: Sequence[tuple[Integers, LatentTables]],
    angles: Angles | None,
) -> None:
    """Parse what was written and compare integers. Raises BitstreamError: never seen, and never let through."""
    with Container(path) as container:
        (segment,) = container.segments
        network = load_network(container, segment, torch.device("cpu"))
        same = network.tables == tables
        if angles is None or network.angles is None:
            same &= angles is network.angles
        else:
            same &= np.array_equal(network.angles, angles)
        read = read_weights(container.chunk(segment, 0), {name: t.symbols.shape for name, t in weights.items()})
        for name, tensor in weights.items():
            same &= np.array_equal(read[name].symbols, tensor.symbols)
            same &= np.array_equal(read[name].steps, tensor.steps)
        for index, (symbols, own) in enumerate(pieces):
            keys, _, rows, columns = symbols.shape
            same &= np.array_equal(read_part(container.chunk(segment, 2 + index), own, keys, rows, columns), symbols)
    if not same:
        raise BitstreamError(f"{path}: what was written does not read back")
