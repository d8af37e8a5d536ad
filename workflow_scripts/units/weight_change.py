"""How far unlearning moves the weights of each neuron (Lin et al.; NeurIPS 2024, arXiv 2405.20291)."""

from typing import Literal

import torch
from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.networks.model import Model

Kind = Literal["conv", "linear", "all"]
PerLayer = dict[str, torch.Tensor]
"""Names of layers, in the order of the modules, each with a tensor whose first axis is the layer's neurons."""
KINDS = {"conv": nn.Conv2d, "linear": nn.Linear, "all": nn.Conv2d | nn.Linear}
SHORTCUTS = ("shortcut", "downsample")
"""What the modules that match shapes beside a residual branch are called."""


def neuron_layers(model: Model, kind: Kind = "all") -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers whose outputs are neurons, by name in the order of the modules: convolutions but for those of
    shortcuts, and hidden linear layers. UserError if there are none."""
    found = {
        name: module
        for name, module in model.units().items()
        if isinstance(module, KINDS[kind]) and not any(part in name for part in SHORTCUTS)
    }
    if not found:
        wanted = {"conv": "convolution", "linear": "hidden linear layer", "all": "hidden layer"}[kind]
        raise UserError(
            f"neurons is {kind!r}, but {model.name} has no {wanted}; `all` takes every hidden layer there is"
        )
    return found


@torch.no_grad()
def weight_changes(before: Model, after: Model, kind: Kind = "all") -> PerLayer:
    """Each weight's absolute change, in the shape of its layer's weight."""
    changed = neuron_layers(after, kind)
    return {name: (changed[name].weight - layer.weight).abs() for name, layer in neuron_layers(before, kind).items()}


def neuron_weight_changes(changes: PerLayer) -> PerLayer:
    """NWC, float32 (units,) for each layer: the sum over a neuron's weights, not divided by their number."""
    return {name: change.flatten(1).sum(1) for name, change in changes.items()}
