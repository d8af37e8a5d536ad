"""How much a trigger changes each unit: what every score of neurons tries to find without knowing the trigger."""

from typing import cast

import numpy as np
import torch
from torch import nn

from workflow_scripts.common.images import Images
from workflow_scripts.common.truth import Truth
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import move_units_second
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import BATCH, logits

FEATURES = "linear"
"""What logs call the inputs of the head, whatever the head is called."""


def trigger_activated_change(model: Model, test: Images, truth: Truth) -> dict[str, torch.Tensor]:
    """TAC, float32 (units,) on the CPU for each module that makes or normalizes units, by its name, and as `linear` for
    the head's inputs: the mean over images of |F(triggered) - F(clean)|, summed over space.

    Named by Zheng et al. (CLP; ECCV 2022, arXiv 2208.03111), who take the 2-norm over space; the sum is that of
    BackdoorBench. The images are those that ASR counts, and the same ones of `test`. All zero where there are none.
    """
    triggered, clean = truth.triggered.images, truth.originals(test).images
    norms = {name: m for name, m in model.network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    watched = model.units() | norms
    found = {name: torch.zeros(len(cast(torch.Tensor, module.weight))) for name, module in watched.items()}
    found[FEATURES] = torch.zeros(model.classifier.in_features)

    def add(name: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        found[name] += _change(inputs if name == FEATURES else move_units_second(model, watched[name], outputs))

    with watch({**watched, FEATURES: model.classifier}, add):
        for start in range(0, len(clean), BATCH // 2):  # pairs in one batch: no layer's activations are kept
            pair = [images[start : start + BATCH // 2] for images in (clean, triggered)]
            logits(model, np.concatenate(pair), BATCH)
    return {name: total / max(1, len(clean)) for name, total in found.items()}


def _change(outputs: torch.Tensor) -> torch.Tensor:
    """float32 (units,): the change of (B, units, …) from the first half of the batch to the second, summed over space
    and images."""
    clean, triggered = outputs.float().chunk(2)
    change = (triggered - clean).abs()
    return change.movedim(1, -1).flatten(0, -2).sum(0).cpu()


def divide_by_layer_mean(change: torch.Tensor) -> torch.Tensor:
    """A layer's TAC in units of its mean, which can be compared between layers: as it stands it grows with the pixels
    of a feature map and with the scale of its activations, and one layer's channels would come before all others."""
    return change / change.mean().clamp_min(torch.finfo(torch.float32).tiny)
