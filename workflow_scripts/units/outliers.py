"""Pruning the units of each layer whose score lies far from those of the layer's others."""

from collections.abc import Mapping, Sequence

import torch

from workflow_scripts.common.run import Run
from workflow_scripts.units.layers import UnitLayer, log_pruning
from workflow_scripts.units.selection import Selection, select_units


def prune_outliers(
    layers: Sequence[UnitLayer], scores: Mapping[str, torch.Tensor], u: float, low: bool, selection: Selection, run: Run
) -> None:
    """Silence, in place, the units whose score (units,) is more than u standard deviations above the mean of their
    layer, or below it where `low`; or as many of each layer at random. What was decided is logged and noted."""
    outliers = {layer.name: find_outliers(-scores[layer.name] if low else scores[layer.name], u) for layer in layers}
    sizes = {layer.name: len(layer) for layer in layers}
    pruned = select_units(selection, outliers, sizes, run, within=True)
    for layer in layers:
        layer.prune(pruned[layer.name])
    log_pruning(run, {layer.name: scores[layer.name] for layer in layers}, pruned)


def find_outliers(scores: torch.Tensor, u: float) -> list[int]:
    """The places of scores (N,) above mean + u · standard deviation; none where these are not finite."""
    found: list[int] = torch.nonzero(scores > scores.mean() + u * scores.std()).flatten().tolist()
    return found
