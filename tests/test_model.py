"""The model against its formulas, its configuration, and its size."""

import math
from dataclasses import replace

import pytest
import torch

from nerv360.config import EncodingConfig, preset_for, presets_of
from nerv360.errors import ArgumentError
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime
from nerv360.layers.encoding import positional_encoding
from nerv360.layers.modulation import AffineTransform
from nerv360.layers.upsampling import SNeRVBlock
from nerv360.models.build import build, decoder_size
from nerv360.models.network_config import NetworkConfig
from nerv360.models.registry import networks
from nerv360.training.configure import configure

TOY = NetworkConfig(192, 96, (14, 13, 12, 12, 12), encoder_channels=8)
VIEW = Viewport(20, 30, 0, 70, None, 72, 48)


def test_positional_encoding() -> None:
    encoded = positional_encoding([[0.3, 0.7]], 1.25, 80)
    assert encoded.shape == (1, 320)
    assert encoded[0, 5] == pytest.approx(math.sin(1.25**5 * math.pi * 0.3))
    assert encoded[0, 80 + 79] == pytest.approx(math.cos(1.25**79 * math.pi * 0.3), abs=1e-6)


def test_affine_transform_is_the_identity_at_gamma_1_beta_0() -> None:
    transform, features = AffineTransform(32, 5), torch.rand(1, 5, 3, 4)
    for branch in (transform.scale, transform.shift):
        torch.nn.init.zeros_(branch[2].weight)
        torch.nn.init.zeros_(branch[2].bias)
    assert torch.equal(transform(features, transform.modulation(torch.rand(1, 32))), features)
    transform.scale[2].bias.data.fill_(1.0)
    transform.shift[2].bias.data.fill_(3.0)
    torch.testing.assert_close(transform(features, transform.modulation(torch.rand(1, 32))), 2 * features + 3)


def test_snerv_block() -> None:
    block, features = SNeRVBlock(3, 2, kernel=1, stride=2), torch.rand(1, 3, 2, 2)
    values = torch.einsum("oc,chw->ohw", block.conv.weight[:, :, 0, 0], features[0]) + block.conv.bias[:, None, None]
    torch.testing.assert_close(block(features)[0, 1, 3, 0], values[4 + 2, 1, 0].sin())


@pytest.mark.parametrize("size", [120_000, 140_000, 500_000, 2_200_000, 17_600_000])
def test_widths_land_within_two_percent(size: int) -> None:
    config = configure(EncodingConfig.of(decoder_size=size), 6144, 3072)
    with torch.device("meta"):
        assert decoder_size(build(config)) == pytest.approx(size, rel=0.02)


def test_impossible_sizes_name_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="the nearest has 10"):
        configure(EncodingConfig.of(decoder_size=1000), 6144, 3072)


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in networks() for name in presets_of(model)])
def test_presets_build(model: str, name: str) -> None:
    config = preset_for(model, name)
    with torch.device("meta"):
        network = build(configure(config, 6144, 3072), 1)
    assert (network.config.grid_height, network.config.grid_width) == (128, 256)
    assert config.training_view(6144) == (1920, 1080)


def test_the_papers_viewport_is_45_by_80_in_the_embedding() -> None:
    assert viewport_rays(Viewport(), cell=24).shape == (1, 45, 80, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"embedding_channels": 4, "encoder_strides": (3, 2, 2, 2, 2)},
        {"embedding_channels": 16, "encoder_strides": (3, 2, 2, 2, 2, 2)},
        {"encoder_strides": (3, 2, 2, 2, 2)},
        {"encoder_strides": (3, 2, 2, 2, 2, 2)},
        {"expand_first": False},
        {"conditions": ()},
        {"conditions": ("yaw", "pitch", "roll", "fov")},
    ],
)
def test_every_choice_of_table_2_runs(change: dict[str, object]) -> None:
    model = build(replace(TOY, **change), 1)  # type: ignore[arg-type]
    panorama = torch.rand(1, 3, 96, 192)
    decoded = model.decode([model.embed(panorama, model.windows(VIEW)[0])], FrameTime(0, 1), VIEW)
    assert decoded.shape == (1, 3, 48, 72)
    assert 0 <= decoded.min() < decoded.max() <= 1


def test_whole_turns_make_no_difference() -> None:
    model = build(replace(TOY, conditions=("yaw", "pitch", "roll", "fov"))).double()
    embedding = torch.rand(1, 1, TOY.grid_height, TOY.grid_width, dtype=torch.float64)
    pictures = []
    for turns in (0, 360):
        view = replace(VIEW, yaw_deg=VIEW.yaw_deg + turns, roll_deg=turns)
        pictures.append(model.decode([model.windows(view)[0].crop(embedding)], FrameTime(0, 1), view))
    torch.testing.assert_close(*pictures, atol=1e-6, rtol=0)


def test_roll_and_field_of_view_condition_the_decoder() -> None:
    torch.manual_seed(0)
    for name, change in (("roll", {"roll_deg": 50.0}), ("fov", {"hfov_deg": 90.0})):
        model = build(replace(TOY, conditions=("yaw", "pitch", name)))
        conditions = [model._conditions(view) for view in (VIEW, replace(VIEW, **change))]
        assert conditions[0] != conditions[1]


@pytest.mark.parametrize(("width", "height"), [(72, 48), (71, 47), (1, 1), (50, 90)])
def test_any_viewport_size_is_a_crop_of_a_larger_one(width: int, height: int) -> None:
    """With the focal length and the top left corner kept, the pixels away from the padding are the same."""
    model, embedding = build(TOY).double(), torch.rand(1, 1, TOY.grid_height, TOY.grid_width, dtype=torch.float64)
    view = replace(VIEW, width=width, height=height)
    assert model.decode([model.windows(view)[0].crop(embedding)], FrameTime(0, 1), view).shape == (1, 3, height, width)


@pytest.mark.parametrize("change", [{}, {"expand_first": False}, {"last_block": "none"}])
def test_views_that_are_drawn_together_are_those_drawn_one_by_one(change: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = build(replace(TOY, **change), 3).double()  # type: ignore[arg-type]
    views, at = [VIEW, replace(VIEW, yaw_deg=170.0), replace(VIEW, pitch_deg=80.0)], FrameTime(1, 3)
    panorama = torch.rand(1, 3, 96, 192, dtype=torch.float64)

    with torch.no_grad():
        latents, _ = model.training_inputs(panorama, 1, views, None)
        together = model.training_outputs(latents, at, views)
        one_by_one = [model.decode(model.training_inputs(panorama, 1, [view], None)[0], at, view) for view in views]
    torch.testing.assert_close(together, torch.cat(one_by_one), atol=1e-12, rtol=0)


def test_what_is_trained_over_is_a_condition() -> None:
    assert EncodingConfig().learned_conditions() == ("yaw", "pitch")
    ranges = EncodingConfig.of(hfov_deg=(60, 110), roll_deg=(-180, 180))
    assert ranges.learned_conditions() == ("yaw", "pitch", "roll", "fov")
    assert ranges.replace(conditions=("fov", "yaw")).learned_conditions() == ("fov", "yaw", "roll")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "x"}, "model="),
        ({"conditions": ("x",)}, "conditions="),
        ({"epochs": 0}, "epochs=0"),
        ({"hfov_deg": (90.0, 60.0)}, "hfov_deg=90:60"),
        ({"weight_bits": 1}, "weight_bits=1"),
    ],
)
def test_impossible_settings_are_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        EncodingConfig.of(**change)  # type: ignore[arg-type]
