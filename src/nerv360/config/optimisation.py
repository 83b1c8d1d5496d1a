"""How a network is fitted: the paper's settings (Sec. III-A), and ours where it is silent."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from nerv360.config.fields import setting
from nerv360.models.fields import check_fields

__all__ = ["Optimisation"]


@dataclass(frozen=True)
class Optimisation:
    """Length of the fit, loss, optimiser and its learning rate."""

    epochs: Annotated[int, Meta(ge=1, le=10**6)] = setting(300, "Times that every frame is visited.")
    loss: Annotated[str, Meta(pattern=r"^(eq2|l2)\Z")] = setting(
        "eq2", "Distortion to minimise: eq2 (Eq. 2) or l2 (the squared error)."
    )
    loss_lambda: Annotated[float, Meta(ge=0, le=1e6)] = setting(
        60.0, "Weight of the pixel terms against the Fourier term (Eq. 2)."
    )
    loss_alpha: Annotated[float, Meta(ge=0, le=1)] = setting(
        0.7, "Share of L1 against MS-SSIM in the pixel terms (Eq. 2)."
    )
    optimiser: Annotated[str, Meta(pattern=r"^(adan|adam)\Z")] = setting("adan", "adan or adam.")
    learning_rate: Annotated[float, Meta(ge=1e-8, le=1)] = setting(3e-3, "Peak of the learning rate.")
    learning_rate_start: Annotated[float, Meta(ge=0, le=1)] = setting(
        1e-4, "Learning rate at the start of the warm-up."
    )
    warmup: Annotated[float, Meta(ge=0, le=1)] = setting(
        0.1, "Fraction of the steps over which the learning rate rises."
    )
    grid_learning_rate: Annotated[float, Meta(ge=1e-8, le=10)] = setting(
        0.2, "Peak of the learning rate of the grids, in steps of their quantiser."
    )
    context_steps: Annotated[int, Meta(ge=1, le=10**5)] = setting(
        200, "Steps of the context model's last fit, to the final integers."
    )

    def __post_init__(self) -> None:
        check_fields(self)
