"""All settings of an encoding, by concern."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

from msgspec import Meta

from nerv360.config.architecture import Architecture
from nerv360.config.fields import setting
from nerv360.config.optimisation import Optimisation
from nerv360.config.rate_target import RateTarget
from nerv360.config.storage import Storage
from nerv360.config.view_sampling import ViewSampling
from nerv360.errors import ArgumentError
from nerv360.models.fields import check_fields

__all__ = ["EncodingConfig", "help_of"]


@dataclass(frozen=True)
class EncodingConfig:
    """How to encode a video. Settings go by their own names, whatever their concern: `of`, `replace`."""

    architecture: Architecture = Architecture()
    view_sampling: ViewSampling = ViewSampling()
    optimisation: Optimisation = Optimisation()
    rate_target: RateTarget = RateTarget()
    storage: Storage = Storage()
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = setting(0, "Seed of everything random.")
    effort: Annotated[int, Meta(ge=0, le=3)] = setting(0, "How much is tried on a clip before it is encoded.")
    sectors: bool = setting(
        False, "Code squares of the panorama apart, so that a viewer fetches those that he sees: 5 to 8 % more bytes."
    )

    def __post_init__(self) -> None:
        check_fields(self)
        spec = self.architecture.spec
        if self.view_sampling.views > 1 and "views" in spec.unused:
            raise ArgumentError(
                f"views={self.view_sampling.views}: the model {spec.name} is fitted to one view at a time"
            )

    @classmethod
    def of(cls, **settings: Any) -> "EncodingConfig":
        """The defaults, but for these settings: `EncodingConfig.of(model="hnerv", epochs=100)`."""
        return cls().replace(**settings)

    def replace(self, **settings: Any) -> "EncodingConfig":
        """The same, but for these settings. Raises ArgumentError for an unknown one, or one out of range."""
        unknown = [name for name in settings if name not in _SECTION_OF]
        if unknown:
            raise ArgumentError(f"{unknown[0]}: there is no such setting; there are {', '.join(_SECTION_OF)}")
        changed: dict[str, Any] = {name: value for name, value in settings.items() if not _SECTION_OF[name]}
        for section in dict.fromkeys(_SECTION_OF[name] for name in settings if _SECTION_OF[name]):
            values = {name: value for name, value in settings.items() if _SECTION_OF[name] == section}
            changed[section] = replace(getattr(self, section), **values)
        return replace(self, **changed)

    def for_frames(self, frames: int) -> "EncodingConfig":
        """The settings for a clip of so many frames (`Architecture.for_frames`)."""
        return replace(self, architecture=self.architecture.for_frames(frames, self.rate_target.keeps_finest))

    def learned_conditions(self) -> tuple[str, ...]:
        """What STAT knows of the view: what is asked for, and all that is trained over; nothing without STAT."""
        if "conditions" not in self.architecture.spec.options:
            return ()
        asked = self.architecture.conditions
        return (*asked, *(name for name in self.view_sampling.varied_conditions() if name not in asked))

    def training_view(self, panorama_width: int) -> tuple[int, int]:
        """Width and height of the training viewport (`ViewSampling.size`)."""
        return self.view_sampling.size(panorama_width, self.architecture.decoder_strides)


_SECTIONS = (Architecture, ViewSampling, Optimisation, RateTarget, Storage)
_SECTION_OF = {
    f.name: section.name for section, kind in zip(fields(EncodingConfig), _SECTIONS, strict=False) for f in fields(kind)
} | dict.fromkeys(("seed", "effort", "sectors"), "")


def help_of(name: str) -> str:
    """Help text of a setting."""
    kinds = (*_SECTIONS, EncodingConfig)
    return next(str(f.metadata["help"]) for kind in kinds for f in fields(kind) if f.name == name)
