"""How much a trigger changes each unit: what every score of neurons tries to find without knowing the trigger."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from workflow_scripts.common.images import Images
from workflow_scripts.common.truth import Truth
from workflow_scripts.models import Model, head
from workflow_scripts.pruning.units import computes
from workflow_scripts.training.inference import BATCH, logits

FEATURES = "linear"
"""What logs call the inputs of the head, whatever the head is called."""


def trigger_activated_change(model: Model, test: Images, truth: Truth) -> dict[str, torch.Tensor]:
    """TAC, float32 (units,) on the CPU for each module that makes or normalises units, by its name, and as `linear` for
    the head's inputs: the mean over images of |F(triggered) - F(clean)|, summed over space.

    Named by Zheng et al. (CLP; ECCV 2022, arXiv 2208.03111), who take the 2-norm over space; the sum is that of
    BackdoorBench. The images are those that ASR counts, and the same ones of `test`. All zero where there are none.
    """
    triggered = truth.triggered.images
    clean = test.images[np.searchsorted(test.index, truth.triggered.index)]
    watched = {name: m for name, m in model.network.named_modules() if computes(m) or isinstance(m, nn.BatchNorm2d)}
    found = {name: torch.zeros(len(module.weight)) for name, module in watched.items()}  # type: ignore[arg-type]
    found[FEATURES] = torch.zeros(head(model).in_features)

    def adds(name: str, inputs_of: bool = False) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            found[name] += _change(inputs[0] if inputs_of else output, linear=isinstance(module, nn.Linear))

        return hook

    hooks = [module.register_forward_hook(adds(name)) for name, module in watched.items()]
    hooks.append(head(model).register_forward_hook(adds(FEATURES, inputs_of=True)))
    try:
        for start in range(0, len(clean), BATCH // 2):  # pairs in one batch: no layer's activations are kept
            pair = [images[start : start + BATCH // 2] for images in (clean, triggered)]
            logits(model, np.concatenate(pair), BATCH)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total / max(1, len(clean)) for name, total in found.items()}


def _change(outputs: torch.Tensor, linear: bool) -> torch.Tensor:
    """float32 (units,): the change from the first half of the batch to the second, summed over space and images."""
    clean, triggered = outputs.float().chunk(2)
    change = (triggered - clean).abs()
    units = -1 if linear else 1
    return change.movedim(units, -1).flatten(0, -2).sum(0).cpu()


def relative(change: torch.Tensor) -> torch.Tensor:
    """A layer's TAC in units of its mean, which can be compared between layers: as it stands it grows with the pixels
    of a feature map and with the scale of its activations, and one layer's channels would come before all others."""
    return change / change.mean().clamp_min(torch.finfo(torch.float32).tiny)
