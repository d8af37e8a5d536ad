"""Data-free Backdoor Removal based on Channel Lipschitzness."""

from dataclasses import dataclass

import torch

from workflow_scripts.common.fields import NonNegative
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model
from workflow_scripts.units.layers import Segment, UnitLayer, kernel_matrices, norm_gain, unit_layers
from workflow_scripts.units.outliers import prune_outliers
from workflow_scripts.units.selection import Selection


@dataclass(frozen=True)
class ChannelLipschitzPruning(Defense):
    """Silence the channels that could amplify a trigger most (Zheng, Tang, Li, Liu; ECCV 2022, arXiv 2208.03111).

    u: a channel goes if its bound is above mean + u · std of its layer. selection: `random` draws as many of each.

    Difference: the convolutions that a normalization follows are found in the graph. The official code takes the last
    one in module order: in pre-activation networks one of those summed, where here all that are summed are stacked. A
    convolution that no normalization follows is judged by its kernel alone. The gain has the normalization's eps.
    """

    suspicious = "high"
    compare_by = "deviation"

    u: NonNegative = 3.0
    selection: Selection = "own"

    def __call__(self, victim: Model, run: Run) -> Model:
        layers = unit_layers(victim)
        bounds = {layer.name: lipschitz_bounds(layer) for layer in layers}
        prune_outliers(layers, bounds, self.u, False, self.selection, run)
        return victim


@torch.no_grad()
def lipschitz_bounds(layer: UnitLayer) -> torch.Tensor:
    """float32 (units,): the largest singular value of each channel's kernel matrix (inputs x positions), times the gain
    |gamma| / sqrt(var + eps) of its normalization (section 4.1)."""
    bounds = torch.cat([_kernel_norms(layer, segment) for segment in layer.segments])
    return bounds if layer.norm is None else bounds * norm_gain(layer.norm)


def _kernel_norms(layer: UnitLayer, segment: Segment) -> torch.Tensor:
    """float32 (units,): 1 where the graph has no kernel before the normalization, which is then judged alone; NaN of
    kernels that are not finite, which is above no bound."""
    if segment.sources:
        kernels = kernel_matrices(segment)
        finite = torch.isfinite(kernels).flatten(1).all(1)
        norms = torch.linalg.svdvals(kernels.where(finite[:, None, None], 0)).amax(1)
        return norms.where(finite, torch.nan)
    assert layer.norm is not None
    return torch.ones(segment.count, device=layer.norm.weight.device)
