"""Data-free Backdoor Removal based on Channel Lipschitzness."""

from dataclasses import dataclass

import torch

from workflow_scripts.common.fields import NonNegative
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.models import Model
from workflow_scripts.pruning.units import Layer, kernel_matrices, layers, log_units


@dataclass(frozen=True)
class ChannelLipschitzPruning(Defense):
    """Silence the channels that could amplify a trigger most (Zheng, Tang, Li, Liu; ECCV 2022, arXiv 2208.03111).

    u: a channel goes if its bound is above mean + u · std of its layer.

    Difference: the convolutions that a normalisation follows are found in the graph. The official code takes the last
    one in module order: in pre-activation networks one of those summed, where here all that are summed are stacked. A
    convolution that no normalisation follows is judged by its kernel alone. The gain has the normalisation's eps.
    """

    suspicious = "high"
    compared = "deviation"

    u: NonNegative = 3.0

    def __call__(self, victim: Model, run: Run) -> Model:
        pruned = total = 0
        for layer in layers(victim.network):
            bounds = lipschitz_bounds(layer)
            outliers = torch.nonzero(bounds > bounds.mean() + self.u * bounds.std()).flatten().tolist()
            layer.silence(outliers)
            log_units(run, layer.name, bounds, outliers)
            pruned, total = pruned + len(outliers), total + len(layer)
        run.note(pruned_share=pruned / total, pruned_layers="all", finetune_epochs=0)
        return victim


@torch.no_grad()
def lipschitz_bounds(layer: Layer) -> torch.Tensor:
    """float32 (units,): the largest singular value of each channel's kernel matrix (inputs x positions), times the gain
    |gamma| / sqrt(var + eps) of its normalisation (section 4.1)."""
    bounds = torch.linalg.svdvals(kernel_matrices(layer)).amax(1)
    if layer.norm is None:
        return bounds
    assert layer.norm.running_var is not None
    return bounds * layer.norm.weight.abs() / torch.sqrt(layer.norm.running_var + layer.norm.eps)
