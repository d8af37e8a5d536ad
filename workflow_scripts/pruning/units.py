"""The prunable units of a network: channels and hidden neurons, with what computes and what normalises each."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from workflow_scripts.common.run import Run
from workflow_scripts.models import Head

PASSES_ON = (nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.Dropout)
"""Modules that leave channels what they are."""


@dataclass(frozen=True)
class Layer:
    """The channels of one batch normalisation and the convolutions whose sum it normalises, as the graph has them: in
    pre-activation networks that is not the order of the modules. Where `norm` is None, the channels of a convolution
    that none follows, or the neurons of a hidden linear layer."""

    name: str
    norm: nn.BatchNorm2d | None
    sources: tuple[nn.Conv2d | nn.Linear, ...]

    def __len__(self) -> int:
        return len((self.norm or self.sources[0]).weight)

    @torch.no_grad()
    def silence(self, units: Sequence[int], keep_shift: bool = False) -> None:
        """Make the units constant: 0, or the shift beta of their normalisation where `keep_shift`."""
        chosen = torch.as_tensor(units, dtype=torch.long)
        for module in (self.norm,) if self.norm is not None else self.sources:
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
    last = [name for name, module in modules.items() if computes(module) and name not in fed]
    return found + [Layer(name, None, (modules[name],)) for name in last]  # type: ignore[arg-type]


def computes(module: nn.Module) -> bool:
    """Whether the module's outputs are units: a convolution, or a linear layer other than the classifier."""
    return isinstance(module, nn.Conv2d | nn.Linear) and not isinstance(module, Head)


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
    weights = [w[:, :, None, None] if w.ndim == 2 else w for w in (source.weight.detach() for source in layer.sources)]
    side = max(weight.shape[-1] for weight in weights)
    margins = [((side - w.shape[-1]) // 2, (side - w.shape[-1] + 1) // 2) for w in weights]
    return torch.cat([F.pad(w, margin * 2).flatten(2) for w, margin in zip(weights, margins, strict=True)], 1)


def log_units(run: Run, layer: str, scores: torch.Tensor, pruned: Sequence[int]) -> None:
    """A log row for each unit of a layer: its score and whether it was pruned."""
    chosen = set(map(int, pruned))
    for unit, score in enumerate(scores.tolist()):
        run.log("unit", layer=layer, unit=unit, score=score, pruned=unit in chosen)
