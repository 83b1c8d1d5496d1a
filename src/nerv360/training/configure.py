"""Settings of an encoding -> the network for a panorama."""

from nerv360.config import EncodingConfig
from nerv360.models.build import with_decoder_size
from nerv360.models.network_config import NetworkConfig

__all__ = ["configure"]


def configure(settings: EncodingConfig, width: int, height: int) -> NetworkConfig:
    """The network for a panorama of this size: widths are solved for the decoder size that is asked for.

    Raises ArgumentError where no decoder comes near that size.
    """
    asked, stages = settings.architecture, len(settings.architecture.decoder_strides)
    config = NetworkConfig(
        width=width,
        height=height,
        channels=asked.channels or (1,) * (stages + 1),
        model=asked.model,
        encoder_strides=asked.encoder_strides,
        decoder_strides=asked.decoder_strides,
        kernels=asked.spec.kernels(stages),
        encoder_channels=asked.encoder_channels,
        embedding_channels=asked.embedding_channels,
        expand_first=asked.expand_first,
        last_block=asked.last_block,
        conditions=settings.learned_conditions(),
        grids=asked.grids,
        group_size=settings.storage.group_size,
    )
    if asked.channels is not None:
        return config
    return with_decoder_size(config, asked.decoder_size, asked.reduction, asked.minimum_width)
