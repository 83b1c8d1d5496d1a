"""One step of the fit: draw, D + lambda R, step."""

import math

import torch
from torch import Tensor

from nerv360.config import EncodingConfig, Optimisation
from nerv360.training.checkpoint import Progress
from nerv360.training.losses import distortion, squared_error
from nerv360.training.sampling import TrainingSample
from nerv360.training.training_module import TrainingModule

__all__ = ["NOISE_FRACTION", "train_step"]

SMOOTHING = 0.98
NOISE_FRACTION = 0.75  # of the steps; then the values of grids are rounded
RATE_WARMUP_FRACTION = 0.25  # of the steps, over which the weight of the rate rises


def train_step(
    module: TrainingModule,
    optimiser: torch.optim.Optimizer,
    sample: TrainingSample,
    learning_rate: float,
    progress_fraction: float,  # of all steps that are done
    config: EncodingConfig,
    progress: Progress,
) -> None:
    """One step of the optimiser and of the latents; none where the loss or its gradient is not finite."""
    device, noise = sample.panorama.device, None
    if progress_fraction < NOISE_FRACTION:
        noise = torch.Generator(device).manual_seed(config.seed << 32 | progress.step)
    with torch.autocast(device.type, torch.bfloat16, enabled=sample.panorama.is_cuda):
        drawn, wanted, bits = module(sample, noise)
    side = math.sqrt(sample.views[0].width * sample.views[0].height)  # the Fourier term grows with it
    rate_weight = progress.rate_weight * side * min(1.0, progress_fraction / RATE_WARMUP_FRACTION)
    error = _distortion(drawn.float(), wanted, config.optimisation)
    loss = error + rate_weight * bits
    optimiser.zero_grad()
    loss.backward()
    gradient = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    with torch.no_grad():
        mean_square = squared_error(drawn.float(), wanted)
    told = torch.stack((gradient + loss, error, mean_square))
    finite, error_now, mean_square_now = told.tolist()  # the one wait for the device
    if not math.isfinite(finite):
        progress.skipped += 1
        return
    progress.skipped = 0
    optimiser.param_groups[0]["lr"] = learning_rate
    optimiser.step()
    module.network.step_latents(
        learning_rate / config.optimisation.learning_rate * config.optimisation.grid_learning_rate
    )
    psnr_db = -10 * math.log10(max(1e-10, mean_square_now))
    progress.loss = _running_mean(progress.loss, error_now, progress.step)
    progress.psnr_db = _running_mean(progress.psnr_db, psnr_db, progress.step)


def _distortion(drawn: Tensor, wanted: Tensor, optimisation: Optimisation) -> Tensor:
    if optimisation.loss == "l2":
        return squared_error(drawn, wanted)
    return distortion(drawn, wanted, optimisation.loss_lambda, optimisation.loss_alpha)


def _running_mean(mean: float, value: float, step: int) -> float:
    """An exponential mean that begins as the plain one."""
    weight = max(1 - SMOOTHING, 1 / (step + 1))
    return value if not math.isfinite(mean) else mean + weight * (value - mean)
