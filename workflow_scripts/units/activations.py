"""What arrives at units before they are normalized: statistics over images."""

from collections.abc import Callable

import numpy as np
import torch

from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import move_units_second
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import logits
from workflow_scripts.units.layers import unit_layers

PerLayer = dict[str, torch.Tensor]


def watch_preactivations(model: Model, images: np.ndarray, see: Callable[[str, torch.Tensor], None]) -> None:
    """Ask a copy in float32 about uint8 images (N, H, W, C), in evaluation mode, and tell `see` of each layer, by name,
    and each batch float32 (B, units, places): the inputs of the layer's normalization; where there is none, the outputs
    of the module that computes its units."""
    exact = in_float32(model)
    layers = {layer.name: layer for layer in unit_layers(exact)}

    def tell(name: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        layer = layers[name]
        found = move_units_second(exact, layer.sources[0], outputs) if layer.norm is None else inputs
        see(name, found.float().reshape(*found.shape[:2], -1))

    with watch({name: layer.norm or layer.sources[0] for name, layer in layers.items()}, tell):
        logits(exact, images)


def largest_preactivations(model: Model, images: np.ndarray) -> PerLayer:
    """float32 (units, N) on the CPU for each layer: the largest over the places of each image."""
    parts: dict[str, list[torch.Tensor]] = {}
    watch_preactivations(model, images, lambda name, found: parts.setdefault(name, []).append(found.amax(2)))
    return {name: torch.cat(own).cpu().T for name, own in parts.items()}


def preactivation_moments(model: Model, images: np.ndarray) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """float64 mean and unbiased variance (units,) on the CPU for each layer, over images and places."""
    sums: dict[str, torch.Tensor] = {}

    def add(name: str, found: torch.Tensor) -> None:
        variance, mean = (part.double() for part in torch.var_mean(found, (0, 2), correction=0))
        count = torch.full_like(mean, found.shape[0] * found.shape[2])
        own = torch.stack([count, count * mean, count * (variance + mean.square())])
        sums[name] = sums[name] + own if name in sums else own

    watch_preactivations(model, images, add)
    sums = {name: total.cpu() for name, total in sums.items()}
    means = {name: total / count for name, (count, total, _) in sums.items()}
    return {
        name: (means[name], (squares - count * means[name].square()).clamp_min(0) / (count - 1))
        for name, (count, _, squares) in sums.items()
    }
