"""From the options of `nerv360 encode` to the settings of an encoding."""

from collections.abc import Callable, Mapping
from typing import Any

from nerv360.cli.options import parse_amount, parse_range
from nerv360.config import EncodingConfig, preset_for, presets_of
from nerv360.errors import ArgumentError
from nerv360.models.registry import MODELS

__all__ = ["choose_settings", "parse_size_limit", "with_options"]

RATE_TARGETS = ("--rate-weight", "--bitrate", "--size-limit", "--quality")
FIELDS = {  # where they are not called alike
    "--hfov": "hfov_deg",
    "--roll": "roll_deg",
    "--quality": "quality_db",
    "--size-limit": "bitrate",
}
PARSERS: dict[str, Callable[[str], Any]] = {
    "--hfov": lambda text: parse_range(text, "--hfov"),
    "--roll": lambda text: parse_range(text, "--roll"),
    "--bitrate": lambda text: parse_amount(text, "--bitrate", "(?:b|bit/s|bps)"),
}


def choose_settings(model: str | None, preset: str | None) -> EncodingConfig:
    """A preset, by default the model's own, of the model, by default the first that has such a preset."""
    if model not in (None, *MODELS):
        raise ArgumentError(f"--model {model}: must be one of {', '.join(MODELS)}")
    models = [model] if model else list(MODELS)
    preset = preset or MODELS[models[0]].default_preset
    for name in models:
        if preset in presets_of(name):
            return preset_for(name, preset)
    names = dict.fromkeys(known for name in models for known in presets_of(name))
    wanted = f" for --model {model}" if model else ""
    raise ArgumentError(f"--preset {preset}: must be one of {', '.join(names)}{wanted}")


def with_options(settings: EncodingConfig, options: Mapping[str, Any]) -> EncodingConfig:
    """The settings with the options that are not None in their place.

    --size-limit, which needs a clip, --device and --precision, which are no settings, are checked.

    Raises ArgumentError for an option that the model has no use for, and for two that both decide the rate.
    """
    given = {option: value for option, value in options.items() if value is not None}
    spec = settings.architecture.spec
    for option, value in given.items():
        if _setting(option) in spec.unused:
            raise ArgumentError(f"{option} {value}: has no meaning for {spec.name}; leave it out")
    if len(rivals := [option for option in RATE_TARGETS if option in given]) > 1:
        raise ArgumentError(f"{' and '.join(rivals)}: each of them decides the rate; give one")
    if (size_limit := given.pop("--size-limit", None)) is not None:
        parse_size_limit(size_limit)
    for option in ("--device", "--precision"):
        given.pop(option, None)
    changes = {
        _setting(option): PARSERS[option](value) if option in PARSERS else value for option, value in given.items()
    }
    return settings.replace(**changes)


def parse_size_limit(text: str) -> float:
    """Bytes."""
    return parse_amount(text, "--size-limit", "B")


def _setting(option: str) -> str:
    """The setting that an option decides."""
    return FIELDS.get(option, option.removeprefix("--").replace("-", "_"))
