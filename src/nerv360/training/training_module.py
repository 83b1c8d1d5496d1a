"""A network while it is fitted, with the steps of its weights where their rate is fitted too."""

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nerv360.models.build import decoder_tensors
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.training.sampling import TrainingSample
from nerv360.training.weight_quantizer import WeightQuantizer

__all__ = ["TrainingModule"]


class TrainingModule(nn.Module):
    """Draws training samples by the network, with weights as a file will hold them.

    Convolutions and products of matrices are of the given precision; weights, geometry and bits stay in float32.
    """

    def __init__(self, network: DecoderNetwork, rate_weight: float, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network, self.precision = network, precision
        self.quantizer = WeightQuantizer(decoder_tensors(network)) if rate_weight else None

    def forward(
        self, sample: TrainingSample, noise: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:  # [N, 3, h, w] drawn and wanted, in [0, 1]; bits per drawn pixel
        """Draw a sample. With a generator, noise stands in for rounding."""
        with torch.autocast(sample.panorama.device.type, self.precision, enabled=self.precision != torch.float32):
            drawn, wanted, bits = self._render(sample, noise)
        return drawn.float(), wanted, bits

    def _render(self, sample: TrainingSample, noise: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        if self.quantizer is None:
            rendered: tuple[Tensor, Tensor, Tensor] = _Rendering(self.network)(sample, noise)
            return rendered
        parameters = {name: self.network.get_parameter(name) for name in self.quantizer.names}
        weights, bits = self.quantizer(parameters, noise)
        drawn, wanted, latent_bits = functional_call(
            _Rendering(self.network), {f"network.{name}": tensor for name, tensor in weights.items()}, (sample, noise)
        )
        share = self.network.training_share(sample.views[0])
        return drawn, wanted, latent_bits + bits * share / (sample.frames * math.prod(drawn.shape[-2:]))


class _Rendering(nn.Module):
    """The same with the weights as they are, for `functional_call` to replace them."""

    def __init__(self, network: DecoderNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, sample: TrainingSample, noise: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        latents, bits = self.network.training_inputs(sample.panorama, sample.frame, sample.world_views, noise)
        drawn = self.network.training_outputs(latents, sample.at, sample.world_views)
        return drawn, self.network.training_targets(sample.panorama, sample.views), bits
