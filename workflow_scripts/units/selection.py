"""Which units go: those that a method's scores say, or as many at random, as its control."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from workflow_scripts.common.run import Run

Selection = Literal["own", "random"]
"""`random` is a control: all else about the method stays, so that the difference is what its scores are worth."""
Units = dict[str, list[int]]
"""Units by the name of their layer."""


def select_units(
    selection: Selection, own: Mapping[str, Sequence[int]], sizes: Mapping[str, int], run: Run, within: bool
) -> Units:
    """The units that a method chose itself, `own`, or as many drawn at random out of layers of these sizes: `within`
    each layer as many as it chose there, where it compares the units of a layer only; else among the units of all."""
    if selection == "own":
        return {name: list(units) for name, units in own.items()}
    stream = run.torch_rng("random selection")
    if within:
        orders = {name: torch.randperm(size, generator=stream) for name, size in sizes.items()}
        return {name: sorted(order[: len(own[name])].tolist()) for name, order in orders.items()}
    drawn = torch.zeros(sum(sizes.values()), dtype=torch.bool)
    drawn[torch.randperm(len(drawn), generator=stream)[: sum(map(len, own.values()))]] = True
    parts = drawn.split(list(sizes.values()))
    return {name: torch.nonzero(part).flatten().tolist() for name, part in zip(sizes, parts, strict=True)}
