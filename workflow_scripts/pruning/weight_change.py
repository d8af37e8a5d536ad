"""Clean unlearning, and how far it moves the weights of each neuron (Lin et al.; NeurIPS 2024, arXiv 2405.20291)."""

import copy
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.models import Model, in_float32
from workflow_scripts.pruning.units import computes
from workflow_scripts.training.inference import cached, decided, logits
from workflow_scripts.training.loader import crop_and_flip
from workflow_scripts.training.loop import Loss, train

Kind = Literal["conv", "linear", "all"]
PerLayer = dict[str, torch.Tensor]
"""Names of layers, in the order of the modules, each with a tensor whose first axis is the layer's neurons."""
KINDS = {"conv": nn.Conv2d, "linear": nn.Linear, "all": nn.Conv2d | nn.Linear}
SHORTCUTS = ("shortcut", "downsample")
"""What the modules that match shapes beside a residual branch are called."""


def unlearned(
    model: Model,
    data: Images,
    run: Run,
    *,
    epochs: int = 1000,
    lr: float = 1e-4,
    batch_size: int = 256,
    stop_accuracy: float = 0.1,
) -> Model:
    """A copy of the model after gradient ascent on the cross-entropy of `data`, until the accuracy there, asked in
    evaluation mode after each epoch, is at most `stop_accuracy` (stage 1; the defaults are the official code's).

    Batches come in the order of the data, with the recipe's augmentation; so do the images that are asked about. Each
    accuracy is logged. In float32: the steps are small. Of an ascent that ends in answers that are not finite, the
    weights of the last epoch before are returned, and the run notes it.
    """
    recipe = replace(model.recipe, epochs=epochs, lr=lr, batch_size=batch_size, schedule="constant")
    recipe = replace(recipe, momentum=0.9, nesterov=False, weight_decay=0.0)
    ascending, data = in_float32(model), cached(model, data, recipe)
    augment, shifts = crop_and_flip(recipe), run.torch("unlearning/asked")
    aside = replace(run, notes={})  # `diverged` would be said of the defended model, which is another one
    finite, done = copy.deepcopy(ascending.network.state_dict()), 0

    def forgotten() -> bool:
        nonlocal done
        answers = logits(ascending, augment(torch.from_numpy(data.images), shifts).numpy())
        if not torch.isfinite(answers).all():
            aside.note(diverged="its answers are not finite")
            return True
        finite.update(copy.deepcopy(ascending.network.state_dict()))
        done += 1
        kept = float((decided(answers) == data.labels).mean())
        run.log("choice", name="unlearning epochs", value=done, holdout_accuracy=kept)
        return kept <= stop_accuracy

    ascent: Loss = lambda answers, labels: -F.cross_entropy(answers, labels)  # noqa: E731
    train(ascending, data, recipe, aside, phase="unlearning", loss=ascent, until=forgotten, shuffled=False)
    if "diverged" in aside.notes:
        run.note(unlearning=f"not finite after epoch {done}, whose weights are compared")
    ascending.network.load_state_dict(finite)
    return ascending


def neurons(network: nn.Module, kind: Kind = "all") -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers whose outputs are neurons, by name in the order of the modules: convolutions but for those of
    shortcuts, and hidden linear layers. UserError if there are none."""
    found = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, KINDS[kind]) and computes(module) and not any(part in name for part in SHORTCUTS)
    }
    if not found:
        wanted = {"conv": "convolution", "linear": "hidden linear layer", "all": "hidden layer"}[kind]
        raise UserError(
            f"neurons is {kind!r}, but the network has no {wanted}; `all` takes every hidden layer there is"
        )
    return found


@torch.no_grad()
def weight_changes(before: Model, after: Model, kind: Kind = "all") -> PerLayer:
    """Each weight's absolute change, in the shape of its layer's weight."""
    changed = neurons(after.network, kind)
    return {name: (changed[name].weight - layer.weight).abs() for name, layer in neurons(before.network, kind).items()}


def neuron_weight_changes(changes: PerLayer) -> PerLayer:
    """NWC, float32 (units,) for each layer: the sum over a neuron's weights. It is not divided by their number, so
    neurons of wide layers rank first."""
    return {name: change.flatten(1).sum(1) for name, change in changes.items()}
