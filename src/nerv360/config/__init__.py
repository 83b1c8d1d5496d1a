"""Settings of an encoding, by concern, and named presets. No torch in here."""

from nerv360.config.architecture import Architecture
from nerv360.config.encoding import EncodingConfig, help_of
from nerv360.config.optimisation import Optimisation
from nerv360.config.presets import HNERV_RECIPE, SCALES, Scale, preset, preset_for, presets_of
from nerv360.config.rate_target import RateTarget
from nerv360.config.storage import Storage
from nerv360.config.view_sampling import ViewSampling

__all__ = [
    "HNERV_RECIPE",
    "SCALES",
    "Architecture",
    "EncodingConfig",
    "Optimisation",
    "RateTarget",
    "Scale",
    "Storage",
    "ViewSampling",
    "help_of",
    "preset",
    "preset_for",
    "presets_of",
]
