"""Pruning at random, as a control."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from workflow_scripts.common.fields import Share, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuned
from workflow_scripts.models import Model
from workflow_scripts.pruning.features import features, mask
from workflow_scripts.pruning.units import layers, log_units


@dataclass(frozen=True)
class RandomPruning(FineTuned):
    """Silence a share of the units drawn at random: a pruning method that this equals has shown nothing.

    layers: `all` channels of the network, or the features of the `last` one only, as fine-pruning has it. With epochs
    above 0 it fine-tunes as fine-pruning does, the pruned units kept silent.
    """

    control = True

    epochs: Whole = 0
    share: Share = 0.05
    layers: Literal["all", "last"] = "all"

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        fit, _ = holdout.split()
        keep = self._last(victim, fit, run) if self.layers == "last" else self._all(victim, run)
        run.note(pruned_share=self.share, pruned_layers=self.layers)
        self.fine_tune(victim, fit, run, after_step=keep)
        return victim

    def _drawn(self, count: int, run: Run) -> list[int]:
        return torch.randperm(count, generator=run.torch("random pruning"))[: round(self.share * count)].tolist()

    def _last(self, victim: Model, fit: Images, run: Run) -> Callable[[], None]:
        drawn = self._drawn(features(victim, fit.images[:1]).shape[1], run)
        return mask(victim, drawn)

    def _all(self, victim: Model, run: Run) -> Callable[[], None]:
        found = layers(victim.network)
        drawn = set(self._drawn(sum(map(len, found)), run))
        start, chosen = 0, []
        for layer in found:
            units = [unit for unit in range(len(layer)) if start + unit in drawn]
            log_units(run, layer.name, torch.full((len(layer),), float("nan")), units)
            chosen.append(units)
            start += len(layer)

        def keep() -> None:
            for layer, units in zip(found, chosen, strict=True):
                layer.silence(units)

        keep()
        return keep
