"""Settings of an encoding -> the network for a panorama."""

from dataclasses import fields

from nerv360.config import EncodingConfig
from nerv360.models.build import with_decoder_size
from nerv360.models.network_config import NetworkConfig
from nerv360.models.registry import network_spec

__all__ = ["configure"]


def configure(settings: EncodingConfig, width: int, height: int) -> NetworkConfig:
    """The network for a panorama of this size: widths are solved for the decoder size that is asked for.

    Raises ArgumentError where no decoder comes near that size.
    """
    asked, stages = settings.architecture, len(settings.architecture.decoder_strides)
    shared = {f.name: getattr(asked, f.name) for f in fields(NetworkConfig) if hasattr(asked, f.name)}
    derived = {
        "channels": asked.channels or (1,) * (stages + 1),
        "kernels": network_spec(asked.model).kernels(stages),
        "conditions": settings.learned_conditions(),
        "group_size": settings.storage.group_size,
    }
    config = NetworkConfig(width=width, height=height, **(shared | derived))
    if asked.channels is not None:
        return config
    return with_decoder_size(config, asked.decoder_size, asked.reduction, asked.minimum_width)
