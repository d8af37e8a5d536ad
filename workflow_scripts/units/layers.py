"""The prunable units of a network: channels and hidden neurons, with what computes and what normalizes each."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model

PASSES_ON = (nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.Dropout, nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU)
"""Modules that leave channels what they are; so do these functions."""
FUNCTIONS = (F.relu, torch.relu, F.max_pool2d, F.avg_pool2d, F.dropout)
SUMS = (operator.add, operator.iadd, torch.add)


@dataclass(frozen=True)
class Source:
    """A convolution, or a linear layer, and the normalizations that its outputs pass before they arrive."""

    module: nn.Conv2d | nn.Linear
    norms: tuple[nn.BatchNorm2d, ...] = ()


@dataclass(frozen=True)
class Segment:
    """Units `start` to `start + count` of a layer: the sum of what their sources compute; no source where what arrives
    there comes from something else."""

    start: int
    count: int
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class UnitLayer:
    """The channels of one batch normalization and the convolutions that it normalizes, summed or one after the other,
    as the graph has them: in pre-activation networks that is not the order of the modules. Where `norm` is None, the
    channels of a convolution that none follows, or the neurons of a hidden linear layer."""

    name: str
    norm: nn.BatchNorm2d | None
    segments: tuple[Segment, ...]

    @property
    def sources(self) -> tuple[nn.Conv2d | nn.Linear, ...]:
        """The modules that compute the units."""
        return tuple(source.module for segment in self.segments for source in segment.sources)

    def __len__(self) -> int:
        return sum(segment.count for segment in self.segments)

    @torch.no_grad()
    def prune(self, units: Sequence[int], keep_shift: bool = False) -> None:
        """Make the units constant: 0, or the shift beta of their normalization where `keep_shift`."""
        chosen = torch.as_tensor(units, dtype=torch.long)
        for module in (self.norm,) if self.norm is not None else self.sources:
            module.weight[chosen] = 0
            if module.bias is not None and not keep_shift:
                module.bias[chosen] = 0


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
        return isinstance(m, nn.Linear) or super().is_leaf_module(m, qualified_name)


def unit_layers(model: Model) -> list[UnitLayer]:
    """Every group of prunable units, those of normalizations in the order of the computation. UserError where torch.fx
    cannot follow the network."""
    modules = dict(model.network.named_modules())
    found: list[UnitLayer] = []
    for node in _normalizations(model, modules):
        norm = modules[str(node.target)]
        assert isinstance(norm, nn.BatchNorm2d)
        found.append(UnitLayer(str(node.target), norm, _segments(node.args[0], modules, norm.num_features)))
    fed = {source for layer in found for source in layer.sources}
    return found + [plain_layer(name, module) for name, module in model.units().items() if module not in fed]


def plain_layer(name: str, module: Any) -> UnitLayer:
    """The units of one module by itself: a convolution, a linear layer or a normalization."""
    if isinstance(module, nn.BatchNorm2d):
        return UnitLayer(name, module, (Segment(0, module.num_features, ()),))
    return UnitLayer(name, None, (Segment(0, len(module.weight), (Source(module),)),))


def _normalizations(model: Model, modules: Mapping[str, nn.Module]) -> list[fx.Node]:
    """The graph's nodes that are batch normalizations; a network without any need not be traced."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in modules.values()):
        return []
    try:
        graph = _Tracer().trace(model.network)
    except Exception as error:  # whatever the network's own code does with a stand-in for a tensor
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{model.name}: torch.fx cannot follow its channels ({reason}); write its forward without "
            "branches on values, or choose another model"
        ) from None
    calls = (node for node in graph.nodes if node.op == "call_module")
    return [node for node in calls if isinstance(modules[str(node.target)], nn.BatchNorm2d)]


def _segments(node: Any, modules: Mapping[str, nn.Module], count: int) -> tuple[Segment, ...]:
    """Which sources the `count` units that arrive at this place have; one segment without any if that is not clear."""
    parts: Any = node.args[0] if isinstance(node, fx.Node) and node.target is torch.cat else [node]
    found, start = [], 0
    for part in parts:
        sources = _feeding(part, modules, ())
        units = len(sources[0].module.weight) if sources else count - start if len(parts) == 1 else 0
        found.append(Segment(start, units, tuple(sources)))
        start += units
    return tuple(found) if start == count and all(part.count for part in found) else (Segment(0, count, ()),)


def _feeding(node: Any, modules: Mapping[str, nn.Module], norms: tuple[nn.BatchNorm2d, ...]) -> list[Source]:
    """The convolutions whose outputs, summed, arrive at this place."""
    if not isinstance(node, fx.Node):
        return []
    if node.op == "call_module":
        module = modules[str(node.target)]
        if isinstance(module, nn.Conv2d):
            return [Source(module, norms)]
        if isinstance(module, nn.BatchNorm2d):
            return _feeding(node.args[0], modules, (*norms, module))
        return _feeding(node.args[0], modules, norms) if isinstance(module, PASSES_ON) else []
    if node.target in SUMS:
        return [source for branch in node.args for source in _feeding(branch, modules, norms)]
    return _feeding(node.args[0], modules, norms) if node.target in FUNCTIONS else []


def gain(norm: nn.BatchNorm2d) -> torch.Tensor:
    """float32 (units,): |gamma| / sqrt(var + eps), by which a normalization stretches each channel."""
    assert norm.running_var is not None
    return norm.weight.detach().abs() / torch.sqrt(norm.running_var + norm.eps)


def kernel_matrices(segment: Segment) -> torch.Tensor:
    """float32 (units, inputs, kernel positions): each unit's kernels, those of summed convolutions stacked, each times
    the gains of the normalizations that it passes."""
    weights = [_stretched(source) for source in segment.sources]
    side = max(weight.shape[-1] for weight in weights)
    margins = [((side - w.shape[-1]) // 2, (side - w.shape[-1] + 1) // 2) for w in weights]
    return torch.cat([F.pad(w, margin * 2).flatten(2) for w, margin in zip(weights, margins, strict=True)], 1)


def _stretched(source: Source) -> torch.Tensor:
    weight = source.module.weight.detach()
    weight = weight[:, :, None, None] if weight.ndim == 2 else weight
    for norm in source.norms:
        weight = weight * gain(norm).view(-1, 1, 1, 1)
    return weight


def log_units(run: Run, layer: str, scores: torch.Tensor, pruned: Sequence[int]) -> None:
    """A log row for each unit of a layer: its score and whether it was pruned."""
    chosen = set(map(int, pruned))
    for unit, score in enumerate(scores.tolist()):
        run.log("unit", layer=layer, unit=unit, score=score, pruned=unit in chosen)
