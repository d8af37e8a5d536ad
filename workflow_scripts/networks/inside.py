"""Looking inside a network while it is asked: its units, its stages."""

import torch
from torch import nn

from workflow_scripts.common.errors import UserError, join_names
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.model import Model


def move_units_second(model: Model, module: nn.Module, outputs: torch.Tensor) -> torch.Tensor:
    """A module's outputs as (B, units, …), whichever axis its units lie along."""
    return outputs.movedim(model.architecture.unit_axis(module), 1)


def find_stage(model: Model, number: int) -> str:
    """The name of the network's stage of this number, from 1; UserError, with how many there are, if there is none."""
    stages = list(model.architecture.stages(model.network))
    if not 1 <= number <= len(stages):
        there = join_names(range(1, len(stages) + 1)) if stages else "none"
        raise UserError(f"stage is {number}; the stages of {model.name}: {there}")
    return stages[number - 1]


def black_images(model: Model, count: int) -> torch.Tensor:
    """uint8 (count, C, H, W): images as the model takes them, by which to see what its network does with any."""
    height, width, channels = model.format.shape
    return torch.zeros(count, channels, height, width, dtype=torch.uint8, device=model.mean.device)


@torch.no_grad()
def stage_activations(model: Model, stage: str, images: torch.Tensor) -> torch.Tensor:
    """float32 (B, …): what the stage gives in evaluation mode when the model is asked about images (B, C, H, W)."""
    caught: list[torch.Tensor] = []
    training = model.training
    module = model.network.get_submodule(stage)
    with watch({stage: module}, lambda name, inputs, outputs: caught.append(outputs.float())):
        model.eval()(images)
    model.train(training)
    return caught[0]
