"""The prunable units of a network: channels and hidden neurons, with what computes and what normalizes each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.run import Run
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import black_images
from workflow_scripts.networks.model import Model

PASSES_ON = (nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.Dropout, nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU)
"""Modules that leave channels what they are; so do these functions."""
FUNCTIONS = (F.relu, torch.relu, torch.Tensor.relu, F.max_pool2d, F.avg_pool2d, F.dropout)
SUMS = (torch.Tensor.add, torch.Tensor.add_, torch.add)
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


@dataclass(frozen=True, eq=False)
class _Made:
    """What a tensor was made by, a module or a function, nothing where that is not known, and of which arguments; None
    stands for those that are no tensors."""

    by: Any = None
    of: tuple[Any, ...] = ()


class _Recorder(TorchFunctionMode):
    """A block in which each tensor is remembered with what made it. What the network's code branches on has values
    there, so that any network can be followed."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, _Made] = {}
        self.kept: list[torch.Tensor] = []  # the identity of a tensor that is gone may be given to another

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.record(func, (*args, *(kwargs or {}).values()), output)
        return output

    def record(self, by: Any, inputs: Sequence[Any], output: Any) -> None:
        """Remember that the output was made by this, of these."""
        if isinstance(output, torch.Tensor):
            self.made[id(output)] = _Made(by, tuple(map(self.find, inputs)))
            self.kept.append(output)

    def find(self, value: Any) -> Any:
        """What a tensor, or each of a list, was made by."""
        if isinstance(value, list | tuple):
            return list(map(self.find, value))
        return self.made.get(id(value), _Made()) if isinstance(value, torch.Tensor) else None


def unit_layers(model: Model) -> list[UnitLayer]:
    """Every group of prunable units, those of normalizations in the order of the computation. UserError where there are
    no units."""
    found = [
        UnitLayer(name, norm, _find_segments(arrived, norm.num_features))
        for name, norm, arrived in _record_normalizations(model)
    ]
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


@torch.no_grad()
def zero_filters(model: Model, chosen: Mapping[str, Sequence[int]]) -> None:
    """Zero weights and biases of these units of the model's layers, by name, in place, and gamma of a normalization
    that sees the layer alone; beta stays."""
    modules = model.units()
    found = unit_layers(model)
    for name, units in chosen.items():
        for parameter in modules[name].parameters():
            parameter[units] = 0
        for layer in found:
            for segment in layer.segments:
                if [source.module for source in segment.sources] == [modules[name]]:
                    layer.prune([segment.start + unit for unit in units], keep_shift=True)


def _record_normalizations(model: Model) -> list[tuple[str, nn.BatchNorm2d, _Made]]:
    """Each batch normalization by its name, in the order of the computation, with what made its input: as a black image
    goes through the network in evaluation mode, which one without any need not."""
    modules = dict(model.network.named_modules())
    found: list[tuple[str, nn.BatchNorm2d, _Made]] = []
    if not any(isinstance(module, nn.BatchNorm2d) for module in modules.values()):
        return found
    recorder, training = _Recorder(), model.training

    def keep(name: str, inputs: torch.Tensor, output: torch.Tensor) -> None:
        if isinstance(module := modules[name], nn.BatchNorm2d):
            found.append((name, module, recorder.find(inputs)))
        recorder.record(module, (inputs,), output)

    known = {n: m for n, m in modules.items() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d, *PASSES_ON))}
    with torch.no_grad(), watch(known, keep), recorder:
        model.eval()(black_images(model, 1))
    model.train(training)
    return found


def _find_segments(made: _Made, count: int) -> tuple[Segment, ...]:
    """Which sources the `count` units that arrive at this place have, joined by a concatenation or not; of one segment
    the sources may be unknown, and there is one segment in all where those of several are."""
    joined = made.of[0] if made.by in CONCATENATIONS else None
    parts = joined if isinstance(joined, list) else [made]
    sources = [tuple(_find_sources(part, ())) for part in parts]
    counts = [len(found[0].module.weight) if found else 0 for found in sources]
    if counts.count(0) == 1:
        counts[counts.index(0)] = count - sum(counts)
    if sum(counts) != count or min(counts) < 1:
        return (Segment(0, count, ()),)
    starts = accumulate(counts[:-1], initial=0)
    return tuple(Segment(*segment) for segment in zip(starts, counts, sources, strict=True))


def _find_sources(made: _Made, norms: tuple[nn.BatchNorm2d, ...]) -> list[Source]:
    """The convolutions whose outputs, summed, arrive at this place; none if they are not all that does."""
    if isinstance(made.by, nn.Conv2d):
        return [Source(made.by, norms)]
    if isinstance(made.by, nn.BatchNorm2d):
        return _find_sources(made.of[0], (*norms, made.by))
    if made.by in SUMS:
        branches = [_find_sources(branch, norms) for branch in made.of if branch is not None]
        found = [source for branch in branches for source in branch]
        return found if all(branches) and len({len(source.module.weight) for source in found}) == 1 else []
    passed = isinstance(made.by, PASSES_ON) or made.by in FUNCTIONS
    return _find_sources(made.of[0], norms) if passed else []


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


def log_pruning(
    run: Run, scores: Mapping[str, torch.Tensor], pruned: Mapping[str, Sequence[int]], finetune_epochs: int = 0
) -> None:
    """Log every unit of all layers with its score (units,), and note the share that was pruned."""
    for name, own in scores.items():
        log_units(run, name, own, pruned[name])
    share = sum(map(len, pruned.values())) / sum(map(len, scores.values()))
    run.note(pruned_share=share, pruned_layers="all", finetune_epochs=finetune_epochs)
