"""The prunable units of a network: channels, with the batch normalisation and the convolutions that make each."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from workflow_scripts.common.run import Run

PASSES_ON = (nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.Dropout)
"""Modules that leave channels what they are."""


@dataclass(frozen=True)
class Layer:
    """The channels of one batch normalisation (None: of a convolution that none follows), and the convolutions whose
    sum it normalises, as the graph has them: in pre-activation networks that is not the order of the modules."""

    name: str
    norm: nn.BatchNorm2d | None
    convs: tuple[nn.Conv2d, ...]

    def __len__(self) -> int:
        return self.norm.num_features if self.norm is not None else self.convs[0].out_channels

    @torch.no_grad()
    def silence(self, units: Sequence[int], keep_shift: bool = False) -> None:
        """Make the units constant: 0, or the shift beta of their normalisation where `keep_shift`."""
        chosen = torch.as_tensor(units, dtype=torch.long)
        for module in (self.norm,) if self.norm is not None else self.convs:
            module.weight[chosen] = 0
            if module.bias is not None and not keep_shift:
                module.bias[chosen] = 0


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
        return isinstance(m, nn.Linear) or super().is_leaf_module(m, qualified_name)


def layers(network: nn.Module) -> list[Layer]:
    """Every group of prunable channels, in the order of the computation."""
    modules = dict(network.named_modules())
    found, fed = [], set()
    graph = _Tracer().trace(network)
    for node in graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.BatchNorm2d):
            names = _feeding(node.args[0], modules)
            fed |= set(names)
            found.append(Layer(str(node.target), module, tuple(modules[name] for name in names)))  # type: ignore[misc]
    last = [name for name, module in modules.items() if isinstance(module, nn.Conv2d) and name not in fed]
    return found + [Layer(name, None, (modules[name],)) for name in last]  # type: ignore[arg-type]


def _feeding(node: fx.Node, modules: dict[str, nn.Module]) -> list[str]:
    """The convolutions whose outputs, summed, arrive at this place."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        if isinstance(module, nn.Conv2d):
            return [str(node.target)]
        return _feeding(node.args[0], modules) if isinstance(module, PASSES_ON) else []  # type: ignore[arg-type]
    if node.target in (operator.add, operator.iadd, torch.add):
        return [name for branch in node.args for name in _feeding(branch, modules)]  # type: ignore[arg-type]
    return []


def kernel_matrices(layer: Layer) -> torch.Tensor:
    """float32 (units, inputs, kernel positions): each unit's kernels, those of summed convolutions stacked."""
    side = max(conv.kernel_size[0] for conv in layer.convs)
    kernels = []
    for conv in layer.convs:
        margin = (side - conv.kernel_size[0]) // 2
        kernels.append(F.pad(conv.weight.detach(), (margin, side - conv.kernel_size[0] - margin) * 2).flatten(2))
    return torch.cat(kernels, 1)


def log_units(run: Run, layer: str, scores: torch.Tensor, pruned: Sequence[int]) -> None:
    """A log row for each unit of a layer: its score and whether it was pruned."""
    chosen = set(map(int, pruned))
    for unit, score in enumerate(scores.tolist()):
        run.log("unit", layer=layer, unit=unit, score=score, pruned=unit in chosen)
