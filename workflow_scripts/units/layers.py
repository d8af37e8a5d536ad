"""The prunable units of a network: channels and hidden neurons, with what computes and what normalizes each."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
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
CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)


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
    """Layers are not looked into, nor are those that libraries derive from torch's."""

    def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
        return isinstance(m, nn.Linear | nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(m, qualified_name)


def unit_layers(model: Model) -> list[UnitLayer]:
    """Every group of prunable units, those of normalizations in the order of the computation. UserError where torch.fx
    cannot follow the network, or there are no units."""
    modules = dict(model.network.named_modules())
    found: list[UnitLayer] = []
    for node in _find_normalizations(model, modules):
        norm = modules[str(node.target)]
        assert isinstance(norm, nn.BatchNorm2d)
        found.append(
            UnitLayer(str(node.target), norm, _find_segments(_first_argument(node), modules, norm.num_features))
        )
    fed = {source for layer in found for source in layer.sources}
    found += [as_unit_layer(name, module) for name, module in model.units().items() if module not in fed]
    if not found:
        raise UserError(f"{model.name} has no units: neither a convolution nor a linear layer before its classifier")
    return found


def as_unit_layer(name: str, module: Any) -> UnitLayer:
    """The units of one module by itself: a convolution, a linear layer or a normalization."""
    if isinstance(module, nn.BatchNorm2d):
        return UnitLayer(name, module, (Segment(0, module.num_features, ()),))
    return UnitLayer(name, None, (Segment(0, len(module.weight), (Source(module),)),))


def _find_normalizations(model: Model, modules: Mapping[str, nn.Module]) -> list[fx.Node]:
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


def _find_segments(node: Any, modules: Mapping[str, nn.Module], count: int) -> tuple[Segment, ...]:
    """Which sources the `count` units that arrive at this place have, joined by a concatenation or not; of one segment
    the sources may be unknown, and there is one segment in all where those of several are."""
    joined = _first_argument(node) if isinstance(node, fx.Node) and node.target in CONCATENATIONS else None
    parts = joined if isinstance(joined, list | tuple) else [node]
    sources = [tuple(_find_sources(part, modules, ())) for part in parts]
    counts = [len(found[0].module.weight) if found else 0 for found in sources]
    if counts.count(0) == 1:
        counts[counts.index(0)] = count - sum(counts)
    if sum(counts) != count or min(counts) < 1:
        return (Segment(0, count, ()),)
    starts = accumulate(counts[:-1], initial=0)
    return tuple(Segment(*segment) for segment in zip(starts, counts, sources, strict=True))


def _find_sources(node: Any, modules: Mapping[str, nn.Module], norms: tuple[nn.BatchNorm2d, ...]) -> list[Source]:
    """The convolutions whose outputs, summed, arrive at this place; none if they are not all that does."""
    if not isinstance(node, fx.Node):
        return []
    if node.op == "call_module":
        module = modules[str(node.target)]
        if isinstance(module, nn.Conv2d):
            return [Source(module, norms)]
        if isinstance(module, nn.BatchNorm2d):
            return _find_sources(_first_argument(node), modules, (*norms, module))
        return _find_sources(_first_argument(node), modules, norms) if isinstance(module, PASSES_ON) else []
    if node.target in SUMS:
        branches = [_find_sources(branch, modules, norms) for branch in node.args if isinstance(branch, fx.Node)]
        found = [source for branch in branches for source in branch]
        return found if all(branches) and len({len(source.module.weight) for source in found}) == 1 else []
    return _find_sources(_first_argument(node), modules, norms) if node.target in FUNCTIONS else []


def _first_argument(node: fx.Node) -> Any:
    """The first argument of a call, by place or by name."""
    return next(iter((*node.args, *node.kwargs.values())), None)


def norm_gain(norm: nn.BatchNorm2d) -> torch.Tensor:
    """float32 (units,): |gamma| / sqrt(var + eps), by which a normalization stretches each channel."""
    assert norm.running_var is not None
    return norm.weight.detach().abs() / torch.sqrt(norm.running_var + norm.eps)


def kernel_matrices(segment: Segment) -> torch.Tensor:
    """float32 (units, inputs, kernel positions): each unit's kernels, those of summed convolutions stacked, each times
    the gains of the normalizations that it passes."""
    weights = [_stretch(source) for source in segment.sources]
    height, width = (max(weight.shape[axis] for weight in weights) for axis in (2, 3))
    return torch.cat([_pad_around(weight, height, width).flatten(2) for weight in weights], 1)


def _pad_around(weight: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Kernels in the middle of zeros."""
    rows, columns = height - weight.shape[2], width - weight.shape[3]
    return F.pad(weight, (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2))


def _stretch(source: Source) -> torch.Tensor:
    weight = source.module.weight.detach()
    weight = weight[:, :, None, None] if weight.ndim == 2 else weight
    for norm in source.norms:
        weight = weight * norm_gain(norm).view(-1, 1, 1, 1)
    return weight


def log_units(run: Run, layer: str, scores: torch.Tensor, pruned: Sequence[int]) -> None:
    """A log row for each unit of a layer: its score and whether it was pruned."""
    chosen = set(map(int, pruned))
    for unit, score in enumerate(scores.tolist()):
        run.log("unit", layer=layer, unit=unit, score=score, pruned=unit in chosen)
