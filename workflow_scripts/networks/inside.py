"""Looking inside a network while it is asked: modules by name, units, stages, running statistics."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from workflow_scripts.common.errors import UserError, join_names
from workflow_scripts.networks.model import Model

Key = TypeVar("Key", bound=Hashable)


@contextmanager
def watch(modules: Mapping[Key, nn.Module], see: Callable[[Key, torch.Tensor, torch.Tensor], object]) -> Iterator[None]:
    """A block in which `see` is told, whenever one of the modules runs, its key, its (first) input and its output."""

    def hook(key: Key) -> Callable[..., None]:
        def tell(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            see(key, inputs[0], output)

        return tell

    hooks = [module.register_forward_hook(hook(key)) for key, module in modules.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


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


@contextmanager
def keep_running_statistics(model: nn.Module) -> Iterator[None]:
    """A block in which batches are normalized by themselves, in training mode, and no running statistics move."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
