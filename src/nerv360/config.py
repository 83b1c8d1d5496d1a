"""Settings of the model and of its fitting, and the named presets. The help texts are the command line's."""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

from msgspec import structs

from nerv360.errors import ArgumentError
from nerv360.latents.grid import LatentGrid, grid_layout_error, stage_strides

__all__ = [
    "CONDITIONS",
    "DEFAULT_MODEL",
    "DEFAULT_PRESET",
    "MODELS",
    "PRESETS",
    "SCALES",
    "EncodingConfig",
    "ModelConfig",
    "Scale",
    "help_of",
    "preset_for",
    "presets_of",
]

MODELS = ("nerv360-grid", "nerv360", "hnerv", "hnerv-boost")
PAPER_MODELS = ("nerv360", "hnerv", "hnerv-boost")
MAX_STAGES, MAX_STRIDE = 8, 512
CONDITIONS = ("yaw", "pitch", "roll", "fov")
LAST_BLOCKS = ("full", "half", "none")
FINEST_WEIGHT = 0.3  # of the rate, from which a grid at 1/1 is not worth its bits beside keys that last


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class ModelConfig:
    """Everything that determines a network's shape (Sec. III-A). All but the encoder's width is kept in the file."""

    width: int
    height: int
    channels: tuple[int, ...]
    model: str = "nerv360"
    encoder_strides: tuple[int, ...] = (3, 2, 2, 2)
    decoder_strides: tuple[int, ...] = (3, 2, 2, 2)
    kernels: tuple[int, ...] = (1, 3, 3, 3)
    encoder_channels: int = 64
    embedding_channels: int = 1
    expand_first: bool = True
    last_block: str = "full"
    conditions: tuple[str, ...] = ("yaw", "pitch")
    pe_base: float = 1.25
    pe_frequencies: int = 80
    grids: tuple[LatentGrid, ...] = ()
    group_size: int = 8

    @property
    def embedding(self) -> LatentGrid:
        """The embeddings y_t of the model nerv360."""
        return LatentGrid(math.prod(self.encoder_strides), self.embedding_channels, 1)

    @property
    def latents(self) -> tuple[LatentGrid, ...]:
        """All that the network decodes from."""
        return self.grids or (self.embedding,)

    @property
    def content_grids(self) -> list[LatentGrid]:
        """All grids but the motion."""
        return [grid for grid in self.grids if not grid.motion]

    def latent_channels_per_stage(self) -> list[int]:
        """Channels of all grids that enter at the cut-out, then at every stage's output."""
        strides = stage_strides(self.decoder_strides)
        return [sum(grid.channels for grid in self.content_grids if grid.stride == stride) for stride in strides]

    def stages(self) -> list[tuple[int, int, int, int]]:
        """Of every stage of the decoder: input channels, output channels, kernel, stride."""
        return list(zip(self.channels[:-1], self.channels[1:], self.kernels, self.decoder_strides, strict=True))

    @property
    def grid_height(self) -> int:
        """Rows of the embedding."""
        return self.embedding.size(self.width, self.height)[0]

    @property
    def grid_width(self) -> int:
        """Columns of the embedding."""
        return self.embedding.size(self.width, self.height)[1]


@dataclass(frozen=True)
class EncodingConfig:
    """How to fit and to write a video: the paper's settings (Sec. III-A), and ours where it is silent."""

    model: str = _setting(
        "nerv360", "The network: nerv360-grid is ours, nerv360 the paper's; hnerv and hnerv-boost are its baselines."
    )
    decoder_size: int = _setting(2_200_000, "Parameters of the decoder; widths are solved to within 2 %.")
    channels: tuple[int, ...] | None = _setting(None, "Widths of the decoder, instead of its size.")
    encoder_strides: tuple[int, ...] = _setting((3, 2, 2, 2), "Downsampling of the panorama, stage by stage.")
    decoder_strides: tuple[int, ...] = _setting((3, 2, 2, 2), "Upsampling of the viewport, stage by stage.")
    encoder_channels: int = _setting(64, "Width of the ConvNeXt encoder, c1.")
    embedding_channels: int = _setting(1, "Channels of the embedding, d.")
    reduction: float = _setting(1.2, "Each stage is narrower by this factor, r.")
    minimum_width: int = _setting(12, "No stage is narrower than this.")
    expand_first: bool = _setting(True, "Expand the channels before the viewport is cut out, not after.")
    last_block: str = _setting("full", "Resolution of the last residual block: full, half (before upsampling) or none.")
    conditions: tuple[str, ...] = _setting(("yaw", "pitch"), "What STAT knows of the view beside the time.")
    epochs: int = _setting(300, "Times that every frame is visited.")
    view_width: int | None = _setting(None, "Width of the training viewport; by default 5/16 of the panorama's.")
    view_height: int | None = _setting(None, "Height of the training viewport; by default 9/16 of its width.")
    views: int = _setting(1, "Training viewports per frame and step; more need the encoder only once (nerv360).")
    hfov_deg: tuple[float, float] = _setting((78.1, 78.1), "Range of horizontal fields of view trained for.")
    roll_deg: tuple[float, float] = _setting((0.0, 0.0), "Range of roll angles trained for.")
    loss: str = _setting("eq2", "Distortion to minimise: eq2 (Eq. 2) or l2 (the squared error).")
    optimiser: str = _setting("adan", "adan or adam.")
    learning_rate: float = _setting(3e-3, "Peak of the learning rate.")
    learning_rate_start: float = _setting(1e-4, "Learning rate at the start of the warm-up.")
    warmup: float = _setting(0.1, "Part of the steps over which the learning rate rises.")
    loss_lambda: float = _setting(60.0, "Weight of the pixel terms against the Fourier term (Eq. 2).")
    loss_alpha: float = _setting(0.7, "Share of L1 against MS-SSIM in the pixel terms (Eq. 2).")
    grids: tuple[LatentGrid, ...] = _setting(
        (), "Latent grids of nerv360-grid; short clips go without the static ones."
    )
    grid_learning_rate: float = _setting(0.2, "Peak of the learning rate of the grids, in steps of their quantiser.")
    rate_weight: float = _setting(
        0.0, "Weight of one bit per decoded pixel against the distortion; 0: the rate is not fitted."
    )
    bitrate: float | None = _setting(None, "Most bits per second of the file; the weight of the rate is found.")
    quality_db: float | None = _setting(None, "PSNR of views to reach, in dB; the weight of the rate is found.")
    weight_bits: int = _setting(8, "Bits per decoder weight before entropy coding, where the rate is not fitted.")
    embedding_bits: int = _setting(8, "Bits per embedding value before entropy coding.")
    context_steps: int = _setting(200, "Steps of the context model's last fit, to the final integers.")
    group_size: int = _setting(8, "Frames whose embeddings are coded together: the unit of random access.")
    seed: int = _setting(0, "Seed of everything random.")

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ArgumentError(f"model={self.model!r}: must be one of {', '.join(MODELS)}")
        choices = {"loss": ("eq2", "l2"), "optimiser": ("adan", "adam"), "last_block": LAST_BLOCKS}
        for name, values in choices.items():
            if getattr(self, name) not in values:
                raise ArgumentError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(values)}")
        if self.model.startswith("hnerv") and math.prod(self.encoder_strides) != math.prod(self.decoder_strides):
            raise ArgumentError(
                f"decoder_strides={self.decoder_strides}: {self.model} must draw as many pixels as the encoder reads, "
                f"by strides {self.encoder_strides}"
            )
        if self.last_block != "full" and self.model != "nerv360":
            raise ArgumentError(f"last_block={self.last_block!r}: only the model nerv360 can do without")
        if self.views > 1 and self.model != "nerv360":
            raise ArgumentError(f"views={self.views}: only the model nerv360 is fitted to several views at once")
        if self.bitrate is not None and self.quality_db is not None:
            raise ArgumentError(f"bitrate={self.bitrate:g}, quality_db={self.quality_db:g}: give one of them")
        if (self.bitrate or self.quality_db) and not self.rate_weight:
            raise ArgumentError("bitrate, quality_db: only where the rate is fitted: rate_weight must not be 0")
        if (self.model == "nerv360-grid") != bool(self.grids):
            raise ArgumentError(f"grids={self.grids}: the model nerv360-grid, and it alone, has grids")
        for grid in self.grids:
            if not 1 <= grid.channels <= 64 or not 0 <= grid.key_interval <= 10**7:
                raise ArgumentError(f"grids={grid}: channels must be in 1..64, period in 0..10^7")
        if wrong := grid_layout_error(self.grids, self.decoder_strides):
            raise ArgumentError(f"grids={self.grids}: {wrong}")
        if self.channels is not None and len(self.channels) != len(self.decoder_strides) + 1:
            raise ArgumentError(f"channels={self.channels}: must be {len(self.decoder_strides) + 1} widths")
        unknown = [name for name in self.conditions if name not in CONDITIONS]
        if unknown:
            raise ArgumentError(f"conditions={unknown[0]!r}: must be among {', '.join(CONDITIONS)}")
        if len(set(self.conditions)) < len(self.conditions):
            raise ArgumentError(f"conditions={self.conditions}: each at most once")
        for name in ("encoder_strides", "decoder_strides"):
            if not 1 <= len(getattr(self, name)) <= MAX_STAGES:
                raise ArgumentError(f"{name}={getattr(self, name)}: must be 1 to {MAX_STAGES} stages")
        for name in ("encoder_strides", "decoder_strides"):
            if math.prod(getattr(self, name)) > MAX_STRIDE:
                raise ArgumentError(f"{name}={getattr(self, name)}: more than {MAX_STRIDE} in all")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not low <= number <= high:
                    raise ArgumentError(f"{name}={number}: must be in {low:g}..{high:g}")
        for name in ("hfov_deg", "roll_deg"):
            start, end = getattr(self, name)
            if start > end:
                raise ArgumentError(f"{name}={start:g}:{end:g}: the first must not exceed the second")

    def learned_conditions(self) -> tuple[str, ...]:
        """`conditions`, and every one whose range is trained over; none for a network that has no STAT."""
        if self.model != "nerv360":
            return ()
        ranges = {"roll": self.roll_deg, "fov": self.hfov_deg}
        varied = (name for name, (start, end) in ranges.items() if start < end and name not in self.conditions)
        return (*self.conditions, *varied)

    def with_keys(self, spacing: float) -> "EncodingConfig":
        """The same settings with keys `spacing` times as far apart, in whole frames; the motion keeps its own.

        Raises ArgumentError where that is not in 0.01..100.
        """
        if not 0.01 <= spacing <= 100:
            raise ArgumentError(f"key_spacing={spacing:g}: must be in 0.01..100")

        def spaced(grid: LatentGrid) -> LatentGrid:
            keyed = grid.key_interval and not grid.motion
            return structs.replace(grid, key_interval=max(1, round(spacing * grid.key_interval))) if keyed else grid

        return replace(self, grids=tuple(map(spaced, self.grids)))

    def for_frames(self, frames: int) -> "EncodingConfig":
        """The settings for a clip of so many frames: no still grids where any key lasts for all of them.

        Such a key is a still grid that moves; both for the same picture cost more than they gain. Only a grid at 1/1
        stays, where bits weigh little, or may yet: towards a target (docs/grid-model.md).
        """
        if not any(grid.key_interval >= frames and not grid.motion for grid in self.grids):
            return self
        fine = self.rate_weight < FINEST_WEIGHT or self.bitrate is not None or self.quality_db is not None
        return replace(
            self, grids=tuple(grid for grid in self.grids if grid.key_interval or (fine and grid.stride == 1))
        )

    def kernels(self) -> tuple[int, ...]:
        """Kernel of each upsampling convolution: 1, then 3 (Boosting-NeRV), then 5 (HNeRV)."""
        largest = 5 if self.model == "hnerv" else 3
        return tuple(min(1 + 2 * stage, largest) for stage in range(len(self.decoder_strides)))

    def training_view(self, width: int) -> tuple[int, int]:
        """Size of the training viewport for a panorama of this width, in whole decoder cells.

        The paper's 1920 x 1080 of 6144 is 5/16; both sides are rounded to the decoder's stride. MS-SSIM needs
        more than 32 pixels.
        """
        cell = math.prod(self.decoder_strides)
        least = cell * (33 // cell + 1)
        view_width = self.view_width or max(least, cell * int(width * 5 / 16 / cell + 0.5))
        view_height = self.view_height or max(least, cell * int(view_width * 9 / 16 / cell + 0.5))
        return view_width, view_height


_RANGES = (
    ("decoder_size", 1, 10**9),
    ("encoder_strides", 1, 16),
    ("decoder_strides", 1, 16),
    ("encoder_channels", 1, 4096),
    ("embedding_channels", 1, 256),
    ("channels", 1, 4096),
    ("reduction", 1, 4),
    ("minimum_width", 1, 4096),
    ("epochs", 1, 10**6),
    ("views", 1, 64),
    ("view_width", 33, 16384),
    ("view_height", 33, 16384),
    ("hfov_deg", 1, 170),
    ("roll_deg", -180, 180),
    ("learning_rate", 1e-8, 1),
    ("learning_rate_start", 0, 1),
    ("warmup", 0, 1),
    ("grid_learning_rate", 1e-8, 10),
    ("rate_weight", 0, 1e9),
    ("bitrate", 1, 1e12),
    ("quality_db", 10, 60),
    ("loss_lambda", 0, 1e6),
    ("loss_alpha", 0, 1),
    ("weight_bits", 2, 16),
    ("embedding_bits", 1, 8),
    ("context_steps", 1, 10**5),
    ("group_size", 1, 64),
    ("seed", 0, 2**32 - 1),
)

_GRID = EncodingConfig(
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
    "fast": replace(_GRID, epochs=30, learning_rate=8e-3),
    "medium": replace(_GRID, epochs=100),
    "slow": replace(_GRID, epochs=300),
    "tiny": EncodingConfig(decoder_size=140_000, epochs=100),
    "tiny-half": EncodingConfig(decoder_size=140_000, epochs=100, last_block="half"),
    "tiny-none": EncodingConfig(decoder_size=140_000, epochs=100, last_block="none"),
    "small": EncodingConfig(decoder_size=500_000, epochs=200),
    "paper-2.2m": EncodingConfig(view_width=1920, view_height=1080),
    "paper-17.6m": EncodingConfig(view_width=1920, view_height=1080, decoder_size=17_600_000),
    "hnerv-published": EncodingConfig("hnerv", loss="l2", optimiser="adam", learning_rate=1e-3),
}


@dataclass(frozen=True)
class Scale:
    """How large an experiment of `nerv360 reproduce` is: everything else is as in the paper."""

    settings: EncodingConfig
    width: int
    height: int
    frames: int | None  # at most; None: all


SCALES = {
    "small": Scale(replace(PRESETS["tiny"], epochs=8), 624, 312, 64),
    "paper-2.2m": Scale(PRESETS["paper-2.2m"], 6144, 3072, None),
    "paper-17.6m": Scale(PRESETS["paper-17.6m"], 6144, 3072, None),
}


DEFAULT_MODEL = "nerv360-grid"
DEFAULT_PRESET = {"nerv360-grid": "medium", **dict.fromkeys(PAPER_MODELS, "tiny")}


def presets_of(model: str) -> list[str]:
    """Names of the presets that are settings of this model; those of nerv360 are its baselines' too (Sec. III-A)."""
    models = {model, "nerv360"} if model in PAPER_MODELS else {model}
    fitting = (name for name, config in PRESETS.items() if config.model in models)
    return [name for name in fitting if model in ("nerv360", PRESETS[name].model) or PRESETS[name].last_block == "full"]


def preset_for(model: str, name: str) -> EncodingConfig:
    """A preset of `presets_of(model)`, as settings of that model."""
    return replace(PRESETS[name], model=model)


def help_of(name: str) -> str:
    """The help text of a field of EncodingConfig."""
    return next(str(f.metadata["help"]) for f in fields(EncodingConfig) if f.name == name)
