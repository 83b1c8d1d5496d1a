"""Registry of the models: the only place where a model's name decides anything. No torch in here."""

from nerv360.errors import ArgumentError
from nerv360.latents.kinds import EMBEDDINGS, GRIDS
from nerv360.models.spec import MemoryUse, ModelSpec, NetworkSpec

__all__ = ["DEFAULT_MODEL", "MODELS", "model_spec", "network_spec", "networks"]


_SECTORS = frozenset({"sectors"})
_RATE = frozenset({"rate_weight", "bitrate", "quality_db"}) | _SECTORS
_NETWORK = frozenset({"decoder_size", "weight_bits", "embedding_bits", "epochs", "seed"})
_VIEWS = frozenset({"views", "hfov_deg", "roll_deg"})

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="nerv360-motion",
            title="NeRV360-Motion",
            summary="frames that predict one another along motion",
            presets="nerv360.config.presets:MOTION_PRESETS",
            default_preset="medium",
            encoder="nerv360.codec.motion_encoder:encode_by_motion",
            decoder="nerv360.codec.motion_decoder:MotionDecoder",
            header="nerv360.bitstream.header:MotionHeader",
            runtime="core",
            eyes=2,
            browser_decoder="motion",
            unused=_NETWORK | {"views", "centres", "pitch_deg", "roll_deg", "device", "precision"},
        ),
        NetworkSpec(
            name="nerv360-grid",
            title="NeRV360-Grid",
            summary="latent grids that are fitted",
            network="nerv360.models.nerv360_grid:NeRV360Grid",
            latents=GRIDS,
            presets="nerv360.config.presets:GRID_PRESETS",
            default_preset="medium",
            options=frozenset({"grids"}),
            unused=_SECTORS | {"decoder_size", "weight_bits", "embedding_bits", "views"},
            world_aligned=True,
            shader_decoder="nerv360.codec.shader_decoder:ShaderDecoder",
            browser_decoder="grid",
            initialization="nerv360.training.initialization:initialize_from_clip",
        ),
        NetworkSpec(
            name="nerv360",
            title="NeRV360",
            summary="the paper's",
            network="nerv360.models.nerv360:NeRV360",
            latents=EMBEDDINGS,
            presets="nerv360.config.presets:NERV360_PRESETS",
            default_preset="tiny",
            options=frozenset({"last_block", "conditions"}),
            unused=_RATE,
            memory={"encoding": MemoryUse(350), "training": MemoryUse(350)},  # the encoder sees a view's surroundings
            memory_of_views=(MemoryUse(950), MemoryUse(20, 4.7)),  # the encoder sees everything
        ),
        NetworkSpec(
            name="hnerv",
            title="HNeRV",
            summary="the paper's first baseline",
            network="nerv360.models.hnerv:HNeRV",
            latents=EMBEDDINGS,
            presets="nerv360.config.presets:HNERV_PRESETS",
            default_preset="tiny",
            unused=_RATE | _VIEWS,
            draws_panorama=True,
            equal_strides=True,
            max_kernel=5,
            int8=False,
            browser_decoder=None,
            memory={"encoding": MemoryUse(350), "decoding": MemoryUse(150, 7), "training": MemoryUse(1100, 16)},
        ),
        NetworkSpec(
            name="hnerv-boost",
            title="HNeRV-Boost",
            summary="the paper's second baseline",
            network="nerv360.models.hnerv_boost:HNeRVBoost",
            latents=EMBEDDINGS,
            presets="nerv360.config.presets:BOOST_PRESETS",
            default_preset="tiny",
            options=frozenset({"late_blocks"}),
            unused=_RATE | _VIEWS,
            draws_panorama=True,
            equal_strides=True,
            int8=False,
            browser_decoder=None,
            memory={"encoding": MemoryUse(350), "decoding": MemoryUse(110, 15), "training": MemoryUse(1200, 46)},
        ),
    )
}
DEFAULT_MODEL = next(iter(MODELS))


def model_spec(name: str) -> ModelSpec:
    """Specification of a model. Raises ArgumentError."""
    if name not in MODELS:
        raise ArgumentError(f"model={name!r}: must be one of {', '.join(MODELS)}")
    return MODELS[name]


def network_spec(name: str) -> NetworkSpec:
    """Specification of a model that is a network. Raises ArgumentError for another."""
    spec = model_spec(name)
    if not isinstance(spec, NetworkSpec):
        raise ArgumentError(f"model={name!r}: is no network; take one of {', '.join(networks())}")
    return spec


def networks() -> list[str]:
    """Names of the models that are networks."""
    return [name for name, spec in MODELS.items() if isinstance(spec, NetworkSpec)]
