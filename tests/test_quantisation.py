"""Weights while they are fitted: the multiples of learned steps that the file will hold, and their bits."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nerv360.bitstream.weights import dequantize, quantize, read_weights, step_code, write_weights
from nerv360.entropy.laplace import best_scale
from nerv360.entropy.rate import add_uniform_noise, laplace_bits, round_ste, tailed_laplace_bits
from nerv360.training.weight_quantizer import WeightQuantizer

SHAPES = {"a.weight": (24, 16, 3, 3), "a.bias": (24,), "b.weight": (3, 24, 3, 3), "b.bias": (3,)}


def fitted() -> tuple[WeightQuantizer, dict[str, torch.Tensor]]:
    """Weights of a Laplace distribution with steps of all sizes, and the scales at which they cost least."""
    torch.manual_seed(0)
    tensors = {
        name: torch.distributions.Laplace(0.0, 0.1 / (1 + index)).sample(shape)
        for index, (name, shape) in enumerate(SHAPES.items())
    }
    quantiser = WeightQuantizer(tensors)
    with torch.no_grad():
        quantiser.log2_step += torch.tensor([0.3, -0.77, 1.2, 2.05])
        for index, (name, step) in enumerate(zip(quantiser.names, quantiser.log2_step.exp2(), strict=True)):
            quantiser.log_scale[index] = (tensors[name] / step).abs().mean().log()
    return quantiser, tensors


def written(quantiser: WeightQuantizer, tensors: dict[str, torch.Tensor]) -> bytes:
    steps = zip(quantiser.names, quantiser.log2_step.tolist(), strict=True)
    return write_weights({name: quantize(tensors[name].numpy(), step=step_code(step)) for name, step in steps})


def test_without_noise_weights_are_what_the_file_holds() -> None:
    quantiser, tensors = fitted()
    with torch.no_grad():
        ours, _ = quantiser(tensors, None)
    read = read_weights(written(quantiser, tensors), SHAPES)
    for name, weight in ours.items():
        # the same integers; products of two roundings to float32 and of one: worst 1.2e-7
        np.testing.assert_allclose(weight.numpy(), dequantize(read[name]), rtol=2e-7, atol=0)


def test_estimated_bits_are_those_of_the_file() -> None:
    quantiser, tensors = fitted()
    with torch.no_grad():
        bits = quantiser(tensors, None)[1].item()
    size = len(written(quantiser, tensors))
    assert bits / 8 + 2 * len(SHAPES) == pytest.approx(size, rel=0.005)  # measured: 0.25 %, 7 bytes


def test_noise_costs_what_rounding_costs() -> None:
    quantiser, tensors = fitted()
    with torch.no_grad():
        rounded = quantiser(tensors, None)[1].item()
        weights, noisy_bits = quantiser(tensors, torch.Generator().manual_seed(0))
    assert noisy_bits.item() == pytest.approx(rounded, rel=0.01)  # measured: 0.5 %
    for (name, weight), step in zip(weights.items(), quantiser.log2_step.exp2(), strict=True):
        assert (weight - tensors[name]).abs().max() <= step / 2 * 1.0001


def test_the_same_noise_twice() -> None:
    quantiser, tensors = fitted()
    one, other, third = (quantiser(tensors, torch.Generator().manual_seed(seed))[1].item() for seed in (3, 3, 4))
    assert one == other != third


@pytest.mark.parametrize("noise", [False, True])
def test_rate_and_error_both_move_steps_scales_and_weights(noise: bool) -> None:
    quantiser, tensors = fitted()
    leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    weights, bits = quantiser(leaves, torch.Generator().manual_seed(0) if noise else None)
    bits.backward(retain_graph=True)
    assert (quantiser.log2_step.grad < 0).all()  # type: ignore[operator]  # longer steps cost less
    assert all((leaf.grad * leaf.detach()).sum() > 0 for leaf in leaves.values())  # type: ignore[operator]
    assert quantiser.log_scale.grad is not None
    quantiser.log2_step.grad = None
    torch.stack([(weights[name] - tensor.detach()).square().sum() for name, tensor in tensors.items()]).sum().backward()
    assert (quantiser.log2_step.grad > 0).all()  # type: ignore[operator]  # and lose more


@pytest.mark.parametrize("scale", [0.05, 0.7, 3.0, 40.0])
@pytest.mark.parametrize("mean", [0.0, 0.3, -2.6])
@pytest.mark.parametrize(
    ("bits_of", "parts"),
    [(laplace_bits, [(1, 1)]), (tailed_laplace_bits, [(31 / 32, 1), (1 / 32, 4)])],
    ids=["plain", "coded"],
)
def test_bits_are_those_of_the_mass(
    bits_of: Callable[..., torch.Tensor], parts: list[tuple[float, float]], scale: float, mean: float
) -> None:
    values = torch.arange(-400, 401, dtype=torch.float64)
    bits = bits_of(values, torch.tensor(mean, dtype=torch.float64), torch.tensor(math.log(scale), dtype=torch.float64))
    edges = torch.arange(-400, 402, dtype=torch.float64) - 0.5 - mean
    tails = sum(part * torch.exp(-edges.abs() / (wider * scale)) / 2 for part, wider in parts)
    mass = torch.where(edges < 0, tails, 1 - tails).diff()
    clear = mass > 1e-6
    torch.testing.assert_close(bits[clear], -mass[clear].log2(), rtol=0, atol=1e-8)
    assert bits.max() <= -math.log2(1e-9) + 1e-9


@pytest.mark.parametrize("bits_of", [laplace_bits, tailed_laplace_bits])
def test_gradients_of_bits(bits_of: Callable[..., torch.Tensor]) -> None:
    values = torch.tensor([0.0, 0.2, -0.49, 0.51, 3.7, -30.0], dtype=torch.float64, requires_grad=True)
    mean = torch.full((6,), 0.1, dtype=torch.float64, requires_grad=True)
    log_scale = torch.linspace(-1, 3, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(bits_of, (values, mean, log_scale))


@pytest.mark.parametrize("bits_of", [laplace_bits, tailed_laplace_bits])
def test_far_away_bits_and_gradients_are_finite(bits_of: Callable[..., torch.Tensor]) -> None:
    """Also under a scale that has shrunk away, as it does where all values are 0 beneath their noise."""
    values = torch.tensor([32767.0, -32767.0, 0.0, 0.45, -0.45, 0.3, 0.55], requires_grad=True)
    log_scale = torch.tensor([-3.0, 5.0, -30.0, -30.0, -6.0, -100.0, -100.0], requires_grad=True)
    bits = bits_of(values, torch.zeros(7), log_scale)
    bits.sum().backward()
    assert torch.isfinite(bits).all()
    assert torch.isfinite(values.grad).all()  # type: ignore[arg-type]
    assert torch.isfinite(log_scale.grad).all()  # type: ignore[arg-type]


def test_rounding_passes_gradients_and_gives_whole_numbers() -> None:
    values = torch.linspace(-1000, 1000, 12345, requires_grad=True)
    rounded = round_ste(values)
    assert torch.equal(rounded, values.detach().round())
    rounded.sum().backward()
    assert (values.grad == 1).all()  # type: ignore[union-attr]
    away = add_uniform_noise(values.detach(), torch.Generator().manual_seed(0)) - values.detach()
    assert away.abs().max() <= 0.5001
    assert away.std() == pytest.approx(math.sqrt(1 / 12), rel=0.02)


def test_a_tensor_of_zeros_can_be_fitted() -> None:
    quantiser = WeightQuantizer({"a": torch.zeros(3)})
    _, bits = quantiser({"a": torch.zeros(3)}, None)
    assert math.isfinite(bits.item())
    assert best_scale(np.zeros(3, np.int32)) == 0
