"""The registry of models: what it names exists, and a fifth model is a file and a registration."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import nerv360
from nerv360.bitstream.container import VERSIONS
from nerv360.cli.encode_settings import choose_settings
from nerv360.codec.segment_decoder import SegmentDecoder
from nerv360.config import EncodingConfig, preset_for, presets_of
from nerv360.config.presets import BOOST_PRESETS, GRID_PRESETS, MOTION_PRESETS
from nerv360.errors import ArgumentError
from nerv360.latents.kinds import EMBEDDINGS
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.network_config import NetworkConfig
from nerv360.models.panorama_network import PanoramaNetwork
from nerv360.models.registry import DEFAULT_MODEL, MODELS, model_spec, network_spec, networks
from nerv360.models.spec import NetworkSpec


class OneConvolution(PanoramaNetwork):
    """A convolution and a pixel shuffle."""

    def __init__(self, config: NetworkConfig, frames: int | None = None) -> None:
        super().__init__(config, frames)
        (stride,) = config.decoder_strides
        self.conv = nn.Conv2d(config.embedding_channels, 3 * stride**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(stride)

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor] = ()) -> Tensor:
        (embedding,) = sampled
        return torch.sigmoid(self.shuffle(self.conv(embedding)))


def test_a_fifth_model_is_a_file_and_a_registration(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = NetworkSpec(
        name="one-convolution",
        title="One convolution",
        summary="a test",
        network="test_registry:OneConvolution",
        latents=EMBEDDINGS,
        presets="nerv360.config.presets:PAPER_PRESETS",
        default_preset="tiny",
        draws_panorama=True,
        equal_strides=True,
    )
    monkeypatch.setitem(MODELS, spec.name, spec)
    strides = {"encoder_strides": (4, 2), "decoder_strides": (8,), "channels": (1, 1)}
    config = EncodingConfig.of(model=spec.name, encoder_channels=4, epochs=2, context_steps=10, **strides)
    nerv360.encode(video, tmp_path / "a.nerv360", config)
    with nerv360.open(tmp_path / "a.nerv360", backend="torch") as decoder:
        assert decoder.viewport(3, nerv360.Viewport(width=64, height=48)).shape == (48, 64, 3)
        assert decoder.panorama(0).shape == (80, 160, 3)
    monkeypatch.undo()
    with pytest.raises(nerv360.BitstreamError, match="model='one-convolution': must be one of"):
        nerv360.open(tmp_path / "a.nerv360")


@pytest.mark.parametrize("name", networks())
def test_what_the_specification_of_a_network_names_exists(name: str) -> None:
    spec = network_spec(name)
    assert issubclass(spec.load_network(), DecoderNetwork)
    assert spec.load_network().draws_panorama == spec.draws_panorama
    assert spec.initialization is None or callable(spec.load_initialization())


@pytest.mark.parametrize("name", MODELS)
def test_what_a_specification_names_exists(name: str) -> None:
    spec = model_spec(name)
    assert issubclass(spec.load_decoder(), SegmentDecoder)
    assert spec.load_header().version in VERSIONS
    assert callable(spec.load_encoder())
    assert spec.default_preset in presets_of(name)
    assert all(preset_for(name, preset).architecture.spec is spec for preset in presets_of(name))


def test_presets_belong_to_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BOOST_PRESETS, "fast", EncodingConfig.of(epochs=1))
    assert preset_for("hnerv-boost", "fast").optimisation.epochs == 1
    assert nerv360.preset("fast") == choose_settings(None, "fast") == MOTION_PRESETS["fast"]
    assert choose_settings("nerv360-grid", "fast") == GRID_PRESETS["fast"]
    assert nerv360.preset("fast", model="hnerv-boost") == choose_settings("hnerv-boost", "fast")
    assert choose_settings(None, "tiny").architecture.model == "nerv360"
    with pytest.raises(ArgumentError, match="must be one of instant, fast, medium, slow for nerv360-motion"):
        nerv360.preset("tiny")


def test_the_default_is_the_first() -> None:
    assert next(iter(MODELS)) == DEFAULT_MODEL
    assert choose_settings(None, None) == nerv360.preset(MODELS[DEFAULT_MODEL].default_preset)
    with pytest.raises(ArgumentError, match="must be one of nerv360-motion"):
        model_spec("unknown")
