"""Feature reverse generation: what a model answers to images that were moved so as to displace one of its units."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from workflow_scripts.common.progress import report
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import move_units_second
from workflow_scripts.networks.model import Model

AT_ONCE = 128
"""Images in one pass; where there are fewer, several units share it."""


Move = Literal["fgsm", "pgd"]


@dataclass(frozen=True)
class Reversal:
    """How images move, all of them tensors (B, C, H, W) in one scale, in which epsilon and start are lengths (Huang,
    Bu; ICLR 2024, arXiv 2307.11565, section 4).

    summed: take a residual block's output for the feature maps of its last convolution.
    """

    method: Move
    epsilon: float
    start: float
    summed: bool = False

    def random_start(self, images: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
        """A first step of random signs: at the images themselves, nothing is displaced and there is no gradient."""
        return (images + self.start * signs).clamp(0, 1)

    def perturb(self, images: torch.Tensor, starts: torch.Tensor, direction: torch.Tensor) -> list[torch.Tensor]:
        """The images to judge by: one for `fgsm`; for `pgd` those after one and after two steps of length start in
        the same direction, at most epsilon from the images."""
        if self.method == "fgsm":
            return [(starts + self.epsilon * direction).clamp(0, 1)]
        moves = (starts + steps * self.start * direction - images for steps in (1, 2))
        return [(images + move.clamp(-self.epsilon, self.epsilon)).clamp(0, 1) for move in moves]


@dataclass
class UnitResponses:
    """For each layer, in the order of execution, float64 (units,): `hits`, the share of reversed images that get their
    label, and `losses`, the mean cross-entropy; of two reversed images the smaller share and the larger loss.

    samples: the number of images.
    """

    hits: dict[str, torch.Tensor]
    losses: dict[str, torch.Tensor]
    samples: int

    def scores(self) -> dict[str, torch.Tensor]:
        """float64 (units,): the accuracy, less a part of one image's worth that grows with the loss: their order is
        that of the accuracies and, where these are equal, that of the losses."""
        return {name: hits - (1 - 1 / (1 + self.losses[name])) / self.samples for name, hits in self.hits.items()}


def evaluate_units(
    model: Model, images: torch.Tensor, labels: torch.Tensor, signs: torch.Tensor, reversal: Reversal
) -> UnitResponses:
    """What the model, in evaluation mode and with frozen weights, answers to images (B, C, H, W) of these labels (B,)
    when they are reversed for each unit from the same random signs, -1 or 1."""
    model.eval()
    totals: dict[str, Any] = {}
    for rows in torch.arange(len(images), device=images.device).split(AT_ONCE):
        copies = max(1, AT_ONCE // len(rows))
        for name, sums in _evaluate_layers(model, images[rows], labels[rows], signs[rows], reversal, copies):
            totals[name] = totals.get(name, 0) + sums
    means = {name: total.cpu() / len(images) for name, total in totals.items()}
    hits = {name: mean[0].amin(0) for name, mean in means.items()}
    losses = {name: mean[1].amax(0) for name, mean in means.items()}
    return UnitResponses(hits, losses, len(images))


def _evaluate_layers(
    model: Model, images: torch.Tensor, labels: torch.Tensor, signs: torch.Tensor, reversal: Reversal, copies: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Each layer with float64 (2, candidates, units): hits and losses, summed over the images.

    Both forward passes serve all units of all layers. The moved images are there `copies` times: in one backward pass
    each copy is asked for another unit, which gives the same gradients, for in evaluation mode images do not interact.
    """
    with torch.no_grad():
        clean = unit_outputs(model, images, reversal.summed)
    starts = reversal.random_start(images, signs)
    repeated = starts.repeat(copies, 1, 1, 1).requires_grad_()
    outputs = unit_outputs(model, repeated, reversal.summed)
    for name, output in report(outputs.items(), "reversing features: layer", len(outputs)):
        displaced = (output.detach()[: len(images)] - clean[name]).transpose(0, 1)
        sums = []
        for units in torch.arange(output.shape[1], device=images.device).split(copies):
            slope = torch.zeros_like(output)  # of the squared displacement but for a factor: only signs count
            slope.unflatten(0, (copies, -1))[torch.arange(len(units)), :, units] = displaced[units]
            (gradient,) = torch.autograd.grad(output, repeated, slope, retain_graph=True)
            direction = gradient.sign().unflatten(0, (copies, -1))[: len(units)]
            sums.append(_hits_and_losses(model, reversal.perturb(images, starts, direction), labels))
        yield name, torch.cat(sums, 2)


@torch.no_grad()
def _hits_and_losses(model: Model, candidates: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """float64 (2, candidates, units): hits and losses on candidates (units, B, C, H, W), summed over the images."""
    sums = []
    for images in candidates:
        logits, wanted = model(images.flatten(0, 1)), labels.repeat(len(images))
        losses = F.cross_entropy(logits, wanted, reduction="none")
        both = torch.stack([(logits.argmax(1) == wanted).double(), losses.double()])
        sums.append(both.unflatten(1, (len(images), -1)).sum(2))
    return torch.stack(sums, 1)


def unit_outputs(model: Model, images: torch.Tensor, summed: bool = False) -> dict[str, torch.Tensor]:
    """Copies of the outputs (B, units, …), on which the network may go on in place, of every layer whose outputs are
    units, in the order of execution.

    summed: in place of those of a residual branch's last convolution, the sum behind it.
    """
    units, found = model.units(), dict[str, torch.Tensor]()
    sums = model.architecture.residual_sums(model.network) if summed else {}
    watched = {name: model.network.get_submodule(sums.get(name, name)) for name in units}

    def keep(name: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        found[name] = move_units_second(model, units[name], outputs).clone()

    with watch(watched, keep):
        model(images)
    return found
