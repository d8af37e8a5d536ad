"""Masks of units, factors of their weights that a method learns on a frozen network, and pruning what has fallen."""

import copy
from dataclasses import replace

import torch
from torch import nn
from torch.func import functional_call

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy
from workflow_scripts.training.loop import Step, train
from workflow_scripts.training.optimizers import SGD
from workflow_scripts.units.layers import UnitLayer, log_pruning, unit_layers
from workflow_scripts.units.selection import Selection, Units, select_units
from workflow_scripts.units.thresholds import list_steps, loses_more

Masks = dict[str, torch.Tensor]
"""float32 (units,) in [0, 1] by layer."""
Changes = dict[str, torch.Tensor]
"""float32 (2, units) by layer: relative changes of weight and bias."""


class MaskedNetwork:
    """A frozen model whose units' weights are multiplied by masks in [0, 1], at first 1, to be learned.

    Units are normalized channels, their weights gamma and beta, and those of hidden linear layers, their weights all
    inputs' and the bias; of a network without either, the filters of its convolutions.
    """

    def __init__(self, model: Model):
        every = unit_layers(model)
        found = [layer for layer in every if not isinstance(_weighted_module(layer), nn.Conv2d)] or every
        modules = dict(model.network.named_modules())
        self.model = model.requires_grad_(False)
        self.masks = {layer.name: nn.Parameter(torch.ones(len(layer), device=model.mean.device)) for layer in found}
        self.affine = {name: _weight_and_bias(modules[name]) for name in self.masks}

    def logits(self, images: torch.Tensor, changes: Changes | None = None) -> torch.Tensor:
        """Logits (B, K) with weight · (mask + delta) and bias · (1 + xi) in place of weight and bias; delta and xi are
        the `changes`, 0 without."""
        values = {}
        for name, (weight, bias) in self.affine.items():
            delta, xi = (0.0, 0.0) if changes is None else changes[name]
            factor = (self.masks[name] + delta).view(-1, *[1] * (weight.ndim - 1))
            values[f"network.{name}.weight"] = weight * factor
            if bias is not None:
                values[f"network.{name}.bias"] = bias * (1 + xi)
        return functional_call(self.model, values, (images,))

    def learn(
        self,
        data: Images,
        run: Run,
        step: Step,
        *,
        phase: str,
        lr: float,
        batch_size: int,
        epochs: int = 1,
        steps: int | None = None,
    ) -> Masks:
        """The masks after so many epochs, or `steps`, of SGD with momentum, each clipped to [0, 1] after each step."""
        recipe = replace(self.model.recipe, epochs=epochs, lr=lr, batch_size=batch_size, schedule="constant")
        recipe = replace(recipe, weight_decay=0.0, momentum=0.9, nesterov=False)
        sgd = SGD(self.masks.values(), recipe)
        train(self.model, data, recipe, run, phase=phase, step=step, optimizer=sgd, after_step=self._clip, steps=steps)
        return {name: mask.detach() for name, mask in self.masks.items()}

    def _clip(self) -> None:
        for mask in self.masks.values():
            mask.data.clamp_(0, 1)


def _weighted_module(layer: UnitLayer) -> nn.Module:
    """What the weights of the layer's units stand in."""
    return layer.norm or layer.sources[0]


def _weight_and_bias(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    weight, bias = (getattr(module, key) for key in ("weight", "bias"))
    return weight.detach(), None if bias is None else bias.detach()


def prune_fallen(
    victim: Model, masks: Masks, validation: Images, run: Run, *, max_drop: float, grid: float, selection: Selection
) -> Model:
    """A copy of the victim without the units whose mask is at most the threshold that is chosen on images held back; or
    without as many, drawn among all. What was decided is logged and noted."""
    threshold = find_safe_threshold(victim, masks, validation, run, max_drop, grid)
    sizes = {name: len(mask) for name, mask in masks.items()}
    pruned = select_units(selection, units_below(masks, threshold), sizes, run, within=False)
    log_pruning(run, masks, pruned)
    return prune(victim, pruned)


def find_safe_threshold(
    victim: Model, masks: Masks, validation: Images, run: Run, max_drop: float, grid: float
) -> float:
    """Of 0, grid, 2 · grid, … below 1 the last threshold before the first that loses more than max_drop of the accuracy
    on images held back; below 0 if 0 does."""
    before = accuracy(victim, validation)
    best = -1.0
    for threshold in list_steps(grid):
        kept = accuracy(prune(victim, units_below(masks, threshold)), validation)
        run.log("choice", name="threshold", value=threshold, holdout_accuracy=kept)
        if loses_more(before, kept, max_drop):
            break
        best = threshold
    return best


def units_below(masks: Masks, threshold: float) -> Units:
    """The units of each layer whose mask is at most the threshold."""
    return {name: torch.nonzero(mask <= threshold).flatten().tolist() for name, mask in masks.items()}


def prune(victim: Model, units: Units) -> Model:
    """A copy of the model without these units: weights 0, bias kept."""
    model = copy.deepcopy(victim)
    for layer in unit_layers(model):
        if layer.name in units:
            layer.prune(units[layer.name], keep_shift=True)
    return model
