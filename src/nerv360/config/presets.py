"""Named settings."""

from dataclasses import dataclass

from nerv360.config.encoding import EncodingConfig
from nerv360.latents.grid import LatentGrid
from nerv360.models.registry import MODELS, model_spec

__all__ = ["DEFAULT_PRESET", "PRESETS", "SCALES", "Scale", "preset_for", "presets_of"]

_GRID = EncodingConfig.of(
    model="nerv360-grid",
    channels=(4, 4, 4, 4, 4),
    grids=(
        LatentGrid(24, 4, 16, motion=True),
        *(LatentGrid(*grid) for grid in ((24, 2, 8), (8, 4, 32), (4, 2, 48), (2, 1, 48))),
        *(LatentGrid(*grid) for grid in ((8, 8, 0), (4, 6, 0), (2, 2, 0), (1, 1, 0))),
    ),
    learning_rate=4e-3,
    grid_learning_rate=0.14,
    rate_weight=1.0,
    warmup=0.05,
    group_size=16,
)

PRESETS = {
    "fast": _GRID.replace(epochs=30, learning_rate=8e-3),
    "medium": _GRID.replace(epochs=100),
    "slow": _GRID.replace(epochs=300),
    "tiny": EncodingConfig.of(decoder_size=140_000, epochs=100),
    "tiny-half": EncodingConfig.of(decoder_size=140_000, epochs=100, last_block="half"),
    "tiny-none": EncodingConfig.of(decoder_size=140_000, epochs=100, last_block="none"),
    "small": EncodingConfig.of(decoder_size=500_000, epochs=200),
    "paper-2.2m": EncodingConfig.of(view_width=1920, view_height=1080),
    "paper-17.6m": EncodingConfig.of(view_width=1920, view_height=1080, decoder_size=17_600_000),
    "hnerv-published": EncodingConfig.of(model="hnerv", loss="l2", optimiser="adam", learning_rate=1e-3),
}

DEFAULT_PRESET = {name: spec.presets[0] for name, spec in MODELS.items()}


@dataclass(frozen=True)
class Scale:
    """How large an experiment of `nerv360 reproduce` is: everything else is as in the paper."""

    settings: EncodingConfig
    width: int
    height: int
    frames: int | None  # at most; None: all


SCALES = {
    "small": Scale(PRESETS["tiny"].replace(epochs=8), 624, 312, 64),
    "paper-2.2m": Scale(PRESETS["paper-2.2m"], 6144, 3072, None),
    "paper-17.6m": Scale(PRESETS["paper-17.6m"], 6144, 3072, None),
}


def presets_of(model: str) -> list[str]:
    """Names of a model's presets, in the order of PRESETS; those of nerv360 are its baselines' too (Sec. III-A)."""
    return [name for name in PRESETS if name in model_spec(model).presets]


def preset_for(model: str, name: str) -> EncodingConfig:
    """A preset of `presets_of(model)`, as settings of that model."""
    return PRESETS[name].replace(model=model)
