"""A linear layer with a normalization before one layer of a network."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from workflow_scripts.networks.model import Model, Wrapper


@dataclass(frozen=True)
class Polarized(Wrapper):
    """layer: the name of the convolution, or linear layer, that becomes a sequence of `polarizer` and `layer`."""

    layer: str = ""

    def apply(self, model: Model) -> None:
        layer = model.network.get_submodule(self.layer)
        parts = OrderedDict(polarizer=build_polarizer(layer), layer=layer)
        model.network.set_submodule(self.layer, nn.Sequential(parts).to(model.mean.device))

    def find_polarizer(self, model: Model) -> nn.Module:
        """What was put into the network."""
        return model.network.get_submodule(f"{self.layer}.polarizer")


class PlaceNorm(nn.BatchNorm1d):
    """The batch normalization of neurons (B, …, D), over all their places."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input.flatten(0, -2)).view_as(input)


def build_polarizer(layer: nn.Module) -> nn.Sequential:
    """The identity, as a 1x1 convolution of the channels that the layer is given, or a linear layer of its inputs, and
    a batch normalization."""
    if isinstance(layer, nn.Conv2d):
        width = layer.in_channels
        mix: nn.Conv2d | nn.Linear = nn.Conv2d(width, width, 1, bias=False)
        norm: nn.Module = nn.BatchNorm2d(width)
    else:
        width = layer.in_features  # type: ignore[assignment]
        mix, norm = nn.Linear(width, width, bias=False), PlaceNorm(width)
    with torch.no_grad():
        mix.weight.copy_(torch.eye(width).view_as(mix.weight))
    return nn.Sequential(mix, norm)
