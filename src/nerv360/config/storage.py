"""How a fitted network is stored."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from nerv360.config.fields import setting
from nerv360.models.fields import GroupSize, check_fields

__all__ = ["Storage"]


@dataclass(frozen=True)
class Storage:
    """Precision of weights and embeddings, and the unit of random access."""

    weight_bits: Annotated[int, Meta(ge=2, le=16)] = setting(
        8, "Bits per decoder weight before entropy coding, where the rate is not fitted."
    )
    embedding_bits: Annotated[int, Meta(ge=1, le=8)] = setting(8, "Bits per embedding value before entropy coding.")
    group_size: GroupSize = setting(8, "Frames whose embeddings are coded together: the unit of random access.")

    def __post_init__(self) -> None:
        check_fields(self)
