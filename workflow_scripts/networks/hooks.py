"""Watching a network, and blocks in which it keeps its statistics."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

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


def count_passes(network: nn.Module, passes: Counter[str]) -> None:
    """From now on count the images (N) that the network and its copies are shown, `forward`, and of how many gradients
    come back, `backward`: to its first layer, or where that one and its inputs need none, to its outputs."""

    def come_back(output: torch.Tensor) -> None:
        count = len(output)
        output.register_hook(lambda gradient: passes.update(backward=count))

    def begin(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        passes["forward"] += len(inputs[0])

    def pass_first(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if output.requires_grad:
            come_back(output)

    def end(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        first = _first_layer(module)
        counted = first is module or inputs[0].requires_grad or any(p.requires_grad for p in first.parameters())
        if output.requires_grad and not counted:
            come_back(output)

    network.register_forward_pre_hook(begin)
    _first_layer(network).register_forward_hook(pass_first)
    network.register_forward_hook(end)


def _first_layer(network: nn.Module) -> nn.Module:
    return next(module for module in network.modules() if next(module.children(), None) is None)


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
