"""One step of the fit: draw, D + lambda R, step. The host gives its device work, and waits for none of it."""

import math

import torch
from torch import Tensor

from nerv360.config import EncodingConfig, Optimisation
from nerv360.training.checkpoint import Progress
from nerv360.training.losses import distortion, squared_error
from nerv360.training.running_means import RunningMeans
from nerv360.training.sampling import TrainingSample
from nerv360.training.training_module import TrainingModule

__all__ = ["NOISE_FRACTION", "train_step"]

NOISE_FRACTION = 0.75  # of the steps; then the values of grids are rounded
RATE_WARMUP_FRACTION = 0.25  # of the steps, over which the weight of the rate rises


def train_step(
    module: TrainingModule,
    optimiser: torch.optim.Optimizer,  # of create_optimiser
    sample: TrainingSample,
    learning_rate: float,
    progress_fraction: float,  # of all steps that are done
    config: EncodingConfig,
    progress: Progress,  # for the number of the step, and the weight of the rate
    means: RunningMeans,
) -> None:
    """One step of the optimiser and of the latents; none where the loss or its gradient is not finite."""
    device, noise = sample.panorama.device, None
    if progress_fraction < NOISE_FRACTION:
        noise = torch.Generator(device).manual_seed(config.seed << 32 | progress.step)
    drawn, wanted, bits = module(sample, noise)
    side = math.sqrt(sample.views[0].width * sample.views[0].height)  # the Fourier term grows with it
    rate_weight = progress.rate_weight * side * min(1.0, progress_fraction / RATE_WARMUP_FRACTION)
    error = _distortion(drawn, wanted, config.optimisation)
    loss = error + rate_weight * bits
    optimiser.zero_grad()
    loss.backward()
    gradient = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    with torch.no_grad():
        skipped = (gradient + loss).isfinite().logical_not()
        means.update(error, squared_error(drawn, wanted), skipped, progress.step)
    optimiser.param_groups[0]["lr"] = learning_rate
    optimiser.found_inf = skipped.float()  # type: ignore[attr-defined]
    optimiser.step()
    share = learning_rate / config.optimisation.learning_rate
    module.network.step_latents(share * config.optimisation.grid_learning_rate, skipped)


def _distortion(drawn: Tensor, wanted: Tensor, optimisation: Optimisation) -> Tensor:
    if optimisation.loss == "l2":
        return squared_error(drawn, wanted)
    return distortion(drawn, wanted, optimisation.loss_lambda, optimisation.loss_alpha)
