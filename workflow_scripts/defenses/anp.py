"""Adversarial Neuron Pruning Purifies Backdoored Deep Models."""

import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from workflow_scripts.common.fields import Count, NonNegative, Positive, PositiveShare, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import HoldoutDefense
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import accuracy, extract_features
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import train
from workflow_scripts.training.optimizers import SGD
from workflow_scripts.units.layers import UnitLayer, log_units, unit_layers
from workflow_scripts.units.selection import Selection, Units, select_units

Values = dict[str, torch.Tensor]
Affine = dict[str, tuple[torch.Tensor, torch.Tensor | None]]
"""Weight and bias by layer."""


@dataclass(frozen=True)
class AdversarialNeuronPruning(HoldoutDefense):
    """Learn masks of the neurons that resist the worst change of their weights, and silence the neurons whose mask
    falls (Wu, Wang; NeurIPS 2021, arXiv 2110.14430). Neurons are normalised channels, their weights gamma and beta, and
    those of hidden linear layers, their weights all inputs' and the bias; of a network without either, the filters of
    its convolutions.

    eps: how far the weights are perturbed, relatively; alpha: the weight of the unperturbed loss; steps of the masks
    at learning rate lr; max_drop: how far the accuracy on the held-back fifth of the holdout may fall; grid: the
    step between two thresholds. selection:
    `random` silences as many neurons, drawn among all.

    Differences: lr is the paper's 0.2 (BackdoorBench runs 0.01). The threshold is the last of 0, 0.05, … 0.95 before
    the first that loses holdout accuracy; BackdoorBench picks it by ASR on the test set. Masks are learned in float32.
    """

    suspicious = "low"

    eps: Positive = 0.4
    alpha: Share = 0.2
    steps: Count = 2000
    lr: Positive = 0.2
    batch_size: Count = 128
    max_drop: NonNegative = 0.02
    grid: PositiveShare = 0.05
    selection: Selection = "own"

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        fit, validation = (extract_features(victim, part, victim.recipe) for part in holdout.split())
        every = unit_layers(victim)
        found = [layer for layer in every if not isinstance(_weighted_module(layer), nn.Conv2d)] or every
        masks = self._learn_masks(in_float32(victim), found, fit, run)
        threshold = self._choose_threshold(victim, masks, validation, run)
        sizes = {name: len(mask) for name, mask in masks.items()}
        pruned = select_units(self.selection, units_below(masks, threshold), sizes, run, within=False)
        for name, mask in masks.items():
            log_units(run, name, mask, pruned[name])
        share = sum(map(len, pruned.values())) / sum(sizes.values())
        run.note(pruned_share=share, pruned_layers="all", finetune_epochs=0)
        return prune(victim, pruned)

    def _learn_masks(self, model: Model, found: list[UnitLayer], data: Images, run: Run) -> Values:
        """One mask in [0, 1] for each neuron of each layer (algorithm 1)."""
        noise = run.torch_rng("anp/noise")
        masks = {layer.name: nn.Parameter(torch.ones(len(layer), device=run.device)) for layer in found}
        recipe = replace(model.recipe, lr=self.lr, batch_size=self.batch_size, schedule="constant")
        recipe = replace(recipe, weight_decay=0.0, momentum=0.9, nesterov=False)
        modules = dict(model.network.named_modules())
        affine = {name: _weight_and_bias(modules[name]) for name in masks}
        model.requires_grad_(False)

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            worst = self._worst_perturbation(model, affine, masks, batch, noise)
            logits = _perturbed_logits(model, affine, masks, None, batch.images)
            clean = F.cross_entropy(logits, batch.labels)
            robust = F.cross_entropy(_perturbed_logits(model, affine, masks, worst, batch.images), batch.labels)
            (self.alpha * clean + (1 - self.alpha) * robust).backward()  # type: ignore[no-untyped-call]
            return logits, robust

        def clamp() -> None:
            for mask in masks.values():
                mask.data.clamp_(0, 1)

        sgd = SGD(masks.values(), recipe)
        train(model, data, recipe, run, phase="anp", step=step, optimizer=sgd, after_step=clamp, steps=self.steps)
        return {name: mask.detach() for name, mask in masks.items()}

    def _worst_perturbation(
        self,
        model: Model,
        affine: Affine,
        masks: dict[str, nn.Parameter],
        batch: Batch,
        noise: torch.Generator,
    ) -> dict[str, torch.Tensor]:
        """The relative changes (2, neurons) of weight and bias after one sign step from a random start: up to 2 eps."""
        start = {
            name: ((torch.rand(2, len(mask), generator=noise) * 2 - 1) * self.eps).to(mask.device).requires_grad_()
            for name, mask in masks.items()
        }
        loss = F.cross_entropy(_perturbed_logits(model, affine, masks, start, batch.images), batch.labels)
        gradients = torch.autograd.grad(loss, list(start.values()))
        steps = zip(start.items(), gradients, strict=True)
        return {name: (value + self.eps * gradient.sign()).detach() for (name, value), gradient in steps}

    def _choose_threshold(self, victim: Model, masks: Values, validation: Images, run: Run) -> float:
        """The last threshold before the first that loses accuracy on the held-back images; below 0 if 0 does."""
        floor = accuracy(victim, validation) - self.max_drop
        best = -1.0
        for threshold in (step * self.grid for step in range(round(1 / self.grid))):
            kept = accuracy(prune(victim, units_below(masks, threshold)), validation)
            run.log("choice", name="threshold", value=threshold, holdout_accuracy=kept)
            if kept < floor:
                break
            best = threshold
        return best


def _weighted_module(layer: UnitLayer) -> nn.Module:
    """What the weights of the layer's neurons stand in."""
    return layer.norm or layer.sources[0]


def _weight_and_bias(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    weight, bias = (getattr(module, key) for key in ("weight", "bias"))
    return weight.detach(), None if bias is None else bias.detach()


def _perturbed_logits(
    model: Model,
    affine: Affine,
    masks: dict[str, nn.Parameter],
    changes: dict[str, torch.Tensor] | None,
    images: torch.Tensor,
) -> torch.Tensor:
    """Logits with weight · (mask + delta) and bias · (1 + xi) in place of weight and bias (equation 5)."""
    values = {}
    for name, (weight, bias) in affine.items():
        delta, xi = (0.0, 0.0) if changes is None else changes[name]
        values[f"network.{name}.weight"] = weight * (masks[name] + delta).view(-1, *[1] * (weight.ndim - 1))
        if bias is not None:
            values[f"network.{name}.bias"] = bias * (1 + xi)
    return functional_call(model, values, (images,))


def units_below(masks: Values, threshold: float) -> Units:
    """The neurons of each layer whose mask is at most the threshold."""
    return {name: torch.nonzero(mask <= threshold).flatten().tolist() for name, mask in masks.items()}


def prune(victim: Model, units: Units) -> Model:
    """A copy of the model without these neurons: weights 0, bias kept."""
    model = copy.deepcopy(victim)
    for layer in unit_layers(model):
        if layer.name in units:
            layer.prune(units[layer.name], keep_shift=True)
    return model
