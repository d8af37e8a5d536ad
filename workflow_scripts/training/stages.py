"""The stages of a network: `layer1`, `layer2` …, and what they give."""

import re

import torch
from torch import nn

from workflow_scripts.common.errors import UserError, listed
from workflow_scripts.models import Model


def stage_of(model: Model, number: int) -> nn.Module:
    """`layer{number}` of the network; UserError, with the stages that there are, if it has none of that number."""
    stages = {key[5:]: part for key, part in model.network.named_children() if re.fullmatch(r"layer\d+", key)}
    if str(number) not in stages:
        there = listed(stages) if stages else "none"
        raise UserError(f"stage is {number}; the stages of {model.name}: {there}")
    return stages[str(number)]


@torch.no_grad()
def activations(model: Model, stage: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """float32 (B, …): what the stage gives in evaluation mode when the model is asked about images (B, C, H, W)."""
    caught: list[torch.Tensor] = []
    hook = stage.register_forward_hook(lambda module, inputs, output: caught.append(output.float()))
    training = model.training
    try:
        model.eval()(images)
    finally:
        hook.remove()
        model.train(training)
    return caught[0]
