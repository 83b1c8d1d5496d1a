"""Context model in real numbers, to be fitted: the distribution of every latent integer, given those coded before it.

Not in the paper. A small network predicts each distribution and is fitted together with the integers, as in Cool-Chic
(Ladune et al., 2023). latents/integer_context_model.py is the same model as a file holds it.
"""

import math
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from nerv360.entropy.laplace import SCALES, SCALES_PER_OCTAVE, UNIT_SCALE
from nerv360.entropy.range_coder import Integers
from nerv360.entropy.rate import clamp_ste, round_ste, tailed_laplace_bits
from nerv360.latents.coding_order import CODING_PASSES, key_coding_order, reference_keys
from nerv360.latents.context_features import ContextFeatures, gather_context
from nerv360.latents.integer_context_model import (
    FIXED_POINT_ONE,
    FIXED_POINT_ONE_MEAN,
    HIDDEN,
    MAX_MAGNITUDE_SUM,
    IntegerContextModel,
)

__all__ = ["ContextModel", "fit_context_model"]

MIN_LOG_SCALE, MAX_LOG_SCALE = ((scale - UNIT_SCALE) * math.log(2) / SCALES_PER_OCTAVE for scale in (0, SCALES - 1))
BATCH, MAX_CELLS, LEARNING_RATE = 2048, 1 << 20, 0.1  # of the fit to final integers


class ContextModel(nn.Module):
    """Context features -> mean and log scale of the Laplace distribution of every cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.input_weight = nn.Parameter(0.3 * torch.randn(4, HIDDEN, generator=random))
        self.pass_bias = nn.Parameter(0.3 * torch.randn(HIDDEN, generator=random).repeat(len(CODING_PASSES), 1))
        self.scale_weight = nn.Parameter(0.1 * torch.randn(HIDDEN, generator=random))
        self.scale_bias = nn.Parameter(torch.ones(channels))
        self.mean_weight = nn.Parameter(torch.full((channels,), 0.5))
        self.temporal_mean_weight = nn.Parameter(torch.zeros(2))

    def forward(self, context: ContextFeatures) -> tuple[Tensor, Tensor]:
        """Mean and log scale [n] of n cells, in float32 whatever surrounds it: a file's integers are as precise."""
        with torch.autocast(context.magnitudes.device.type, enabled=False):
            return self._predict(context)

    def _predict(self, context: ContextFeatures) -> tuple[Tensor, Tensor]:
        rounded = (value for value, _, _ in self._rounded())
        input_weight, pass_bias, scale_weight, scale_bias, mean_weight, temporal_mean_weight = rounded
        logarithms = torch.log2(1 + context.magnitudes.clamp_max(MAX_MAGNITUDE_SUM))
        passes = torch.arange(len(CODING_PASSES), device=logarithms.device)[:, None] == context.coding_pass
        hidden = torch.cat((logarithms, context.temporal[:, None]), dim=1) @ input_weight
        hidden = hidden.addmm(passes.to(hidden).mT, pass_bias)  # so that its gradient is a product, too, not a scatter
        log_scale = scale_bias.index_select(0, context.channel) + hidden.relu() @ scale_weight
        mean = context.means[:, 0] * mean_weight.index_select(0, context.channel)
        mean = mean + context.means[:, 1:] @ temporal_mean_weight
        return mean, clamp_ste(log_scale, MIN_LOG_SCALE, MAX_LOG_SCALE)

    @torch.no_grad()
    def integers(self) -> IntegerContextModel:
        """The same model in integers."""
        parameters = [((value - offset) * one).round().flatten() for value, one, offset in self._rounded()]
        return IntegerContextModel.of(torch.cat(parameters).cpu().numpy().astype(np.int32), len(self.scale_bias))

    def _rounded(self) -> list[tuple[Tensor, float, float]]:
        """Every parameter as its integers allow, with the integer that stands for 1, and the value of integer 0."""
        step = math.log(2) / SCALES_PER_OCTAVE
        scaled = (
            (self.input_weight, FIXED_POINT_ONE, 0.0),
            (self.pass_bias, FIXED_POINT_ONE, 0.0),
            (self.scale_weight, FIXED_POINT_ONE / step, 0.0),
            (self.scale_bias, FIXED_POINT_ONE / step, -UNIT_SCALE * step),
            (self.mean_weight, FIXED_POINT_ONE_MEAN, 0.0),
            (self.temporal_mean_weight, FIXED_POINT_ONE_MEAN, 0.0),
        )
        return [(round_ste(value * one) / one, one, offset) for value, one, offset in scaled]


def fit_context_model(groups: Sequence[tuple[Integers, int]], model: ContextModel, steps: int) -> IntegerContextModel:
    """Fit a copy of `model` to integers that are final, and give it in integers.

    A group is the keys of a chunk [keys, channels, rows, columns] and the index of its first channel.
    """
    random = torch.Generator().manual_seed(0)
    value, context = _sampled_cells(groups, random)
    model = deepcopy(model).cpu()
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    with torch.enable_grad():
        for _ in range(steps):
            batch = torch.randint(len(value), (BATCH,), generator=random)
            loss = tailed_laplace_bits(value[batch], *model(context.at(batch))).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return model.integers()


def _sampled_cells(groups: Sequence[tuple[Integers, int]], random: torch.Generator) -> tuple[Tensor, ContextFeatures]:
    """Values [n] of random cells of every key, and their context."""
    per_key = max(64, MAX_CELLS // sum(len(integers) for integers, _ in groups))
    values, contexts = [], []
    for integers, first_channel in groups:
        keys = torch.from_numpy(integers).float()
        for key, before, after in key_coding_order(len(keys)):
            cells = keys[key].flatten(1)
            chosen = torch.randperm(cells.shape[1], generator=random)[:per_key].sort().values
            values.append(cells[:, chosen].flatten())
            contexts.append(gather_context(keys[key], keys[reference_keys(before, after)], chosen, first_channel))
    return torch.cat(values), ContextFeatures.join(contexts)
