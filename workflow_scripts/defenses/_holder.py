"""Pruning by Hölder constants: what Hölder Pruning and the iterative defense that repeats it share."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from workflow_scripts.common.fields import Byte, Count, NonNegative, Positive, PositiveShare, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model
from workflow_scripts.units.holder_constants import (
    Aggregation,
    Norm,
    PerLayer,
    holder_constants,
    move_images,
    move_layer_inputs,
)
from workflow_scripts.units.layers import UnitLayer, log_units, unit_layers
from workflow_scripts.units.selection import Selection, select_units
from workflow_scripts.units.thresholds import Rule, choose_threshold


@dataclass(frozen=True)
class HolderPruningDefense(Defense):
    """The constant of unit j is H_j = sup |a_j(z) - a_j(z')| / ‖z - z'‖^alpha, where z is the input of its own layer
    and a_j its pre-activation; those of each layer that are too high are pruned.

    estimator: `input` moves images by epsilon (in 1/255) against their published label; `head` each layer's input
    against it, by one length, the share `radius` of the mean input; `neuron` each layer's input, by that length, where
    the neuron's output grows most, which is the supremum of a linear neuron. norm: whether the steps in layers go along
    the gradient or its sign. aggregation: over that many `samples` of the published images. rule: `top` takes the
    highest `share` of a layer, `valley` those beyond the deepest valley in the density of log H (`top` if it has none),
    `sigma` those above mean + u · standard deviation of log H. selection: `random` draws as many of each layer.

    With `head` and `neuron` alpha scales all constants of a layer alike, and changes nothing; with `neuron` and `l2` a
    constant is the ℓ2 norm of the neuron's weights, as channel Lipschitz pruning has it, but for that scale.
    """

    estimator: Literal["input", "head", "neuron"] = "input"
    epsilon: Byte = 8.0
    radius: Positive = 0.03
    norm: Norm = "l2"
    alpha: PositiveShare = 0.5
    aggregation: Aggregation = "max"
    samples: Count = 2000
    rule: Rule = "valley"
    share: Share = 0.05
    u: NonNegative = 3.0
    selection: Selection = "own"

    @property
    def compare_by(self) -> str:
        """Each layer has its own threshold."""
        return "rank" if self.rule == "top" else "deviation"

    def scores(self, model: Model, published: Images, run: Run) -> PerLayer:
        """float32 (units,): the constants of each layer."""
        chosen = run.numpy_rng("holder/samples").permutation(len(published))[: self.samples]
        if self.estimator == "input":
            moved = move_images(model, published[chosen], self.epsilon / 255)
        else:
            moved = move_layer_inputs(model, published[chosen], self.radius, self.norm, own=self.estimator == "neuron")
        return holder_constants(moved, self.alpha, self.aggregation)

    def prune(self, model: Model, published: Images, run: Run, suffix: str = "") -> float:
        """Silence the units in place, log every unit and every layer's threshold, the suffix behind the layer's name,
        and return the share that was pruned."""
        scores, found = self.scores(model, published, run), unit_layers(model)
        least = {name: choose_threshold(own, self.rule, self.share, self.u) for name, own in scores.items()}
        own = {name: torch.nonzero(scores[name] >= least[name]).flatten().tolist() for name in scores}
        sizes = {layer.name: len(layer) for layer in found}
        pruned = select_units(self.selection, own, sizes, run, within=True)
        for layer in found:
            name, units = layer.name, pruned[layer.name]
            prune_layer(model.network, layer, units)
            run.log("choice", name="threshold", layer=name + suffix, value=least[name])
            log_units(run, name + suffix, scores[name], units)
        return sum(map(len, pruned.values())) / sum(sizes.values())


@torch.no_grad()
def prune_layer(network: nn.Module, layer: UnitLayer, units: list[int]) -> None:
    """Zero the units, and of neurons in a sequence of layers what the next linear one makes of them too."""
    layer.prune(units)
    for sequence in (module for module in network.modules() if isinstance(module, nn.Sequential)):
        linear = [module for module in sequence if isinstance(module, nn.Linear)]
        for module, following in pairwise(linear):
            if module in layer.sources:
                following.weight[:, units] = 0
