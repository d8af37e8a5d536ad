"""Blocks in which a network is watched, or keeps its statistics."""

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
