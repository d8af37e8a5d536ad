"""Hölder constants of units: how far an output moves for how far its layer's input moves."""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import move_units_second
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.inference import iterate_batches
from workflow_scripts.units.layers import unit_layers

Moved = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""By layer: how far outputs move (N, units), and how far the layer's input moves (N,), in N samples."""
PerLayer = dict[str, torch.Tensor]
Aggregation = Literal["max", "p95", "mean"]
Norm = Literal["l2", "linf"]
AT_ONCE = 250
"""Images asked together: twice as many, of all layers, are in memory."""


def holder_constants(moved: Moved, alpha: float, aggregation: Aggregation) -> PerLayer:
    """float32 (units,): over the samples, the greatest of |a(z) - a(z')| / ‖z - z'‖^alpha, its 95th percentile or its
    mean. A sample that leaves a layer's input in its place says nothing of that layer."""
    found = {}
    for name, (outputs, inputs) in moved.items():
        ratios = outputs[inputs > 0] / inputs[inputs > 0, None] ** alpha
        if not len(ratios):
            found[name] = outputs.new_zeros(outputs.shape[1])
        elif aggregation == "max":
            found[name] = ratios.amax(0)
        else:
            found[name] = ratios.mean(0) if aggregation == "mean" else ratios.quantile(0.95, dim=0)
    return found


def move_images(model: Model, data: Images, epsilon: float) -> Moved:
    """Each image makes one step of `epsilon` (of [0, 1]) along the sign of the gradient of its loss with the published
    label (FGSM; Goodfellow et al. 2015, arXiv 1412.6572), through an extractor where there is one."""
    exact = in_float32(model).requires_grad_(False).eval()
    parts = []
    for images, labels in _iterate_batches(exact, data):
        images = (images.float() / 255).requires_grad_()
        loss = F.cross_entropy(exact(images), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, images)
        start = images.detach()
        parts.append(_measure_displacements(exact, start, (start + epsilon * gradient.sign()).clamp(0, 1)))
    joined = {name: zip(*(part[name] for part in parts), strict=True) for name in parts[0]}
    return {name: tuple(torch.cat(both) for both in pair) for name, pair in joined.items()}  # type: ignore[misc]


def move_layer_inputs(model: Model, data: Images, radius: float, norm: Norm, own: bool) -> Moved:
    """The input of each hidden linear layer makes a step of one ℓ2 length, the share `radius` of the inputs' mean
    length, along the gradient or its sign (`linf`): of the sample's loss, or, where `own`, of each neuron's output.

    Of `own` steps there is one for each neuron, the same for every sample, and nothing moves a linear neuron further.
    UserError if there are convolutions.
    """
    exact = in_float32(model).requires_grad_(False).eval()
    found: dict[str, nn.Module] = {layer.name: layer.sources[0] for layer in unit_layers(exact)}
    if any(isinstance(module, nn.Conv2d) for module in found.values()):
        raise UserError(
            "holder: estimator is 'head' or 'neuron', which move the inputs of linear layers, but the network has "
            "convolutions; input is the estimator for every network"
        )
    moved = {}
    for name, (inputs, slopes) in _find_inputs_and_slopes(exact, data, found).items():
        weight: torch.Tensor = found[name].weight  # type: ignore[assignment]
        length = radius * inputs.norm(dim=1).mean()
        steps = weight if own else slopes
        steps = F.normalize(steps.sign() if norm == "linf" else steps) * length
        outputs = (steps * weight).sum(1)[None] if own else steps @ weight.T
        moved[name] = outputs.abs(), torch.full((len(outputs),), float(length), device=outputs.device)
    return moved


def _iterate_batches(model: Model, data: Images) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    labels = torch.from_numpy(data.labels).to(model.mean.device).split(AT_ONCE)
    return zip(iterate_batches(model, data.images, AT_ONCE), labels, strict=True)


@torch.no_grad()
def _measure_displacements(model: Model, start: torch.Tensor, end: torch.Tensor) -> Moved:
    """Of images (B, C, H, W) that move. A channel's output is that of its normalization, where it has one, and moves by
    the ℓ2 norm over its places; the input of summed convolutions is that of all together."""
    found = unit_layers(model)
    inputs: dict[nn.Module, torch.Tensor] = {}
    outputs: dict[nn.Module, torch.Tensor] = {}

    def keep(module: nn.Module, given: torch.Tensor, output: torch.Tensor) -> None:
        inputs[module] = given.unflatten(0, (2, -1)).diff(dim=0)[0].flatten(1).norm(dim=1)
        change = move_units_second(model, module, output).unflatten(0, (2, -1)).diff(dim=0)[0]
        outputs[module] = change.reshape(*change.shape[:2], -1).norm(dim=2)

    watched = {module: module for layer in found for module in (layer.norm, *layer.sources) if module is not None}
    with watch(watched, keep):
        model(torch.cat([start, end]))
    return {
        layer.name: (
            outputs[layer.norm or layer.sources[0]],
            torch.stack([inputs[source] for source in layer.sources or (layer.norm,)]).norm(dim=0),  # type: ignore
        )
        for layer in found
    }


def _find_inputs_and_slopes(
    model: Model, data: Images, found: dict[str, nn.Module]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """By layer: its inputs (N, D), and the gradients (N, D) of each sample's loss with its published label."""
    parts: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in found}
    given: dict[str, torch.Tensor] = {}
    for images, labels in _iterate_batches(model, data):
        start = model.embed(images).requires_grad_()
        with watch(found, lambda name, inputs, outputs: given.update({name: inputs})):
            loss = F.cross_entropy(model.network(start).float(), labels, reduction="sum")
        inputs = [given[name] for name in found]
        for name, values, slopes in zip(found, inputs, torch.autograd.grad(loss, inputs), strict=True):
            parts[name].append((values.detach(), slopes))
    return {name: tuple(map(torch.cat, zip(*pairs, strict=True))) for name, pairs in parts.items()}  # type: ignore
