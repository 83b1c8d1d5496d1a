"""Named settings, model by model."""

from dataclasses import dataclass
from typing import Any

from nerv360.config.encoding import EncodingConfig
from nerv360.errors import ArgumentError
from nerv360.latents.grid import LatentGrid
from nerv360.models.registry import DEFAULT_MODEL, model_spec

__all__ = [
    "BOOST_PRESETS",
    "GRID_PRESETS",
    "HNERV_PRESETS",
    "HNERV_RECIPE",
    "MOTION_PRESETS",
    "NERV360_PRESETS",
    "PAPER_PRESETS",
    "SCALES",
    "Scale",
    "preset",
    "preset_for",
    "presets_of",
]

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

_MOTION = EncodingConfig.of(model="nerv360-motion", rate_weight=1.0)

MOTION_PRESETS = {
    name: _MOTION.replace(effort=effort) for effort, name in enumerate(("instant", "fast", "medium", "slow"))
}
GRID_PRESETS = {
    "fast": _GRID.replace(epochs=30, learning_rate=8e-3),
    "medium": _GRID.replace(epochs=100),
    "slow": _GRID.replace(epochs=300),
}

# Settings of the paper's network, which its baselines share (Sec. III-A).
PAPER_PRESETS = {
    "tiny": EncodingConfig.of(decoder_size=140_000, epochs=100),
    "small": EncodingConfig.of(decoder_size=500_000, epochs=200),
    "paper-2.2m": EncodingConfig.of(view_width=1920, view_height=1080),
    "paper-17.6m": EncodingConfig.of(view_width=1920, view_height=1080, decoder_size=17_600_000),
}
HNERV_RECIPE: dict[str, Any] = {"loss": "l2", "optimiser": "adam", "learning_rate": 1e-3}  # HNeRV, Sec. 4.1
NERV360_PRESETS = {
    **PAPER_PRESETS,
    "tiny-half": PAPER_PRESETS["tiny"].replace(last_block="half"),
    "tiny-none": PAPER_PRESETS["tiny"].replace(last_block="none"),
}
HNERV_PRESETS = {
    **PAPER_PRESETS,
    "hnerv-published": EncodingConfig.of(model="hnerv", **HNERV_RECIPE),
}
BOOST_PRESETS = {
    **PAPER_PRESETS,
    "hnerv-boost-published": EncodingConfig.of(model="hnerv-boost", late_blocks=2),
}


@dataclass(frozen=True)
class Scale:
    """How large an experiment of `nerv360 reproduce` is: everything else is as in the paper."""

    settings: EncodingConfig
    width: int
    height: int
    frames: int | None  # at most; None: all


SCALES = {
    "small": Scale(PAPER_PRESETS["tiny"].replace(epochs=8), 624, 312, 64),
    "paper-2.2m": Scale(PAPER_PRESETS["paper-2.2m"], 6144, 3072, None),
    "paper-17.6m": Scale(PAPER_PRESETS["paper-17.6m"], 6144, 3072, None),
}


def presets_of(model: str) -> list[str]:
    """Names of a model's presets."""
    return list(model_spec(model).load_presets())


def preset_for(model: str, name: str) -> EncodingConfig:
    """A preset of a model. Raises ArgumentError for one that the model does not have."""
    settings = model_spec(model).load_presets()
    if name not in settings:
        raise ArgumentError(f"preset={name!r}: must be one of {', '.join(settings)} for {model}")
    found: EncodingConfig = settings[name]
    return found.replace(model=model)


def preset(name: str, model: str = DEFAULT_MODEL) -> EncodingConfig:
    """Settings by the name of a preset: `nerv360.preset("medium")`. Raises ArgumentError."""
    return preset_for(model, name)
