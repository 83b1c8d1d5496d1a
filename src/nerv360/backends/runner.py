"""The interface of a backend. No torch in here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from nerv360.types import Picture

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Examples", "Runner"]

Examples = Sequence[tuple[list["Tensor"], list["Tensor"]]]  # what `draw` takes


class Runner(Protocol):
    """A network, ready to be drawn with, on any thread. It keeps what depends on the network and the picture's size."""

    def draw(self, sampled: "Sequence[Tensor]", modulations: "Sequence[Tensor]") -> Picture:
        """What `network.draw` gives for these, as 8-bit RGB [H, W, 3]. The array is the caller's."""
