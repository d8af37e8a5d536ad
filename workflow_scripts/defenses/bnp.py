"""Pre-activation Distributions Expose Backdoor Neurons: pruning by batch normalization's statistics."""

from dataclasses import dataclass

import torch
from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import NonNegative
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import HoldoutDefense
from workflow_scripts.networks.model import Model
from workflow_scripts.units.activations import preactivation_moments
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.outliers import prune_outliers
from workflow_scripts.units.selection import Selection


@dataclass(frozen=True)
class BatchNormPruning(HoldoutDefense):
    """Silence the channels whose pre-activations for clean images are distributed otherwise than those in training,
    which had triggered images among them and whose moments the normalizations remember (Zheng, Tang, Li, Liu; NeurIPS
    2022).

    u: a channel goes if the divergence KL(clean, running) of both normal distributions is above mean + u · std of its
    layer. selection: `random` silences as many of each layer.

    Differences: BackdoorBench asks one augmented batch of 256, and has log(var / var) without its half. Variances have
    the normalization's eps, so that a dead channel does not diverge. Networks without batch normalization, which
    remember nothing, are refused; of those with LayerNorms BackdoorBench asks about published images too.
    """

    needs = ("batch normalization",)  # type: ignore[assignment]
    suspicious = "high"
    compare_by = "deviation"

    u: NonNegative = 3.0
    selection: Selection = "own"

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        layers = [layer for layer in unit_layers(victim) if layer.norm is not None]
        if not layers:
            raise UserError(
                f"bnp compares with the running statistics of batch normalizations, and {victim.name} has none; "
                "ep prunes by the same distributions and takes every network"
            )
        moments = preactivation_moments(victim, holdout.images)
        scores = {layer.name: divergences(*moments[layer.name], layer.norm) for layer in layers}  # type: ignore[arg-type]
        prune_outliers(layers, scores, self.u, False, self.selection, run)
        return victim


def divergences(mean: torch.Tensor, variance: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """float64 (channels,) on the CPU, in nats: KL(N(mean, variance) ‖ N(running mean, running variance))."""
    assert norm.running_mean is not None and norm.running_var is not None
    expected, spread = (part.double().cpu() for part in (norm.running_mean, norm.running_var))
    spread, own = spread + norm.eps, variance + norm.eps
    return (torch.log(spread / own) + (own + (mean - expected).square()) / spread - 1) / 2
