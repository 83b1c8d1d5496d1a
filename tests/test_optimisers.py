"""Adan against its algorithm in float64; steps that change nothing where a gradient is not finite."""

import math

import pytest
import torch
from torch import Tensor, nn

from nerv360.config import Optimisation
from nerv360.latents.selective_adam import SelectiveAdam
from nerv360.training import checkpoint
from nerv360.training.optimisers import Adan, create_optimiser


def gradients(steps: int) -> list[list[Tensor]]:
    random = torch.Generator().manual_seed(0)
    return [[torch.randn(3, 4, generator=random), torch.randn(5, generator=random)] for _ in range(steps)]


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.ParameterList([torch.randn(3, 4), torch.randn(5), torch.randn(2)])  # the last has no gradient


def take_step(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], given: list[Tensor]) -> None:
    for parameter, gradient in zip(parameters, given, strict=False):
        parameter.grad = gradient.clone()
    optimiser.found_inf = torch.tensor(float(not all(each.isfinite().all() for each in given)))  # type: ignore[attr-defined]
    optimiser.step()


def test_adan_is_its_algorithm() -> None:
    model = network()
    parameters = list(model.parameters())
    expected = [each.detach().double() for each in parameters]
    optimiser = Adan(parameters, 1e-2)
    beta1, beta2, beta3 = 0.98, 0.92, 0.99
    m, v, n, previous = ([torch.zeros(()).double()] * 2 for _ in range(4))
    for k, given in enumerate(gradients(20), start=1):
        optimiser.param_groups[0]["lr"] = rate = 1e-2 * k
        take_step(optimiser, parameters, given)
        for i, gradient in enumerate(given):
            g = gradient.double()
            difference = g - previous[i] if k > 1 else 0 * g
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * difference
            n[i] = beta3 * n[i] + (1 - beta3) * (g + beta2 * difference) ** 2
            previous[i] = g
            scale = (n[i] / (1 - beta3**k)).sqrt() + 1e-8
            expected[i] = expected[i] - rate * (m[i] / (1 - beta1**k) + beta2 * v[i] / (1 - beta2**k)) / scale
        for parameter, wanted in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.double(), wanted, rtol=0, atol=1e-5)


def test_adan_counts_the_steps_of_every_parameter() -> None:
    """One whose gradient is often missing moves as if it were alone."""
    often, seldom, alone = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    together, single = Adan([often, seldom], 1e-2), Adan([alone], 1e-2)
    for step, (first, second) in enumerate(gradients(9)):
        seldom.grad = None
        take_step(together, [often, seldom], [first] if step % 3 else [first, second])
        if step % 3 == 0:
            take_step(single, [alone], [second])
        assert torch.equal(seldom, alone)


@pytest.mark.parametrize("name", ["adan", "adam"])
@pytest.mark.parametrize("at", [0, 3])
def test_a_step_that_is_not_finite_changes_nothing(name: str, at: int) -> None:
    models, settings = [network(), network()], Optimisation(optimiser=name)
    optimisers = [create_optimiser(model, settings) for model in models]
    for step, given in enumerate(gradients(6)):
        if step == at:
            broken = [given[0], torch.full((5,), math.nan)]
            take_step(optimisers[0], list(models[0].parameters()), broken)
        for model, optimiser in zip(models, optimisers, strict=True):
            take_step(optimiser, list(model.parameters()), given)
    states = [checkpoint.capture(model, optimiser) for model, optimiser in zip(models, optimisers, strict=True)]
    assert states[0].keys() == states[1].keys()
    for key, tensor in states[0].items():
        assert torch.equal(tensor, states[1][key]), key


def test_grids_do_not_move_where_a_step_is_skipped() -> None:
    adam, values = SelectiveAdam(12), torch.ones(12)
    read, gradient = torch.tensor([0, 4, 6, 11]), torch.full((4,), math.nan)
    before = {name: tensor.clone() for name, tensor in adam.state_dict().items()}
    adam.step(values, read, gradient, 0.1, torch.tensor(True))
    assert values.eq(1).all() and all(torch.equal(before[name], tensor) for name, tensor in adam.state_dict().items())
    adam.step(values, read, torch.ones(4), 0.1, torch.tensor(False))
    assert (values != 1).sum() == 4
