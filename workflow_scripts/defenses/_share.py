"""Silencing a share of the units by some order, as a control."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from workflow_scripts.common.fields import Share, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.model import Model
from workflow_scripts.units.features import prune_features
from workflow_scripts.units.layers import log_units, unit_layers
from workflow_scripts.units.tac import FEATURES


@dataclass(frozen=True)
class SharePruning(FineTuningDefense):
    """A control that silences a share of the units.

    layers: `all` channels of the network, or the features of the `last` one only, as fine-pruning has it. With epochs
    above 0 it fine-tunes as fine-pruning does, the pruned units kept silent.
    """

    control = True
    suspicious = "high"

    epochs: Whole = 0
    share: Share = 0.05
    layers: Literal["all", "last"] = "all"

    def counts(self, victim: Model) -> dict[str, int]:
        """How many units each layer has, by its name, in the order of the computation."""
        if self.layers == "last":
            return {FEATURES: victim.classifier.in_features}
        return {layer.name: len(layer) for layer in unit_layers(victim)}

    def prune(self, victim: Model, scores: Mapping[str, torch.Tensor], holdout: Images, run: Run) -> Model:
        """The victim without the share of the units whose scores are highest; `scores` (units,) by layer."""
        fit, _ = holdout.split()
        flat = torch.cat(list(scores.values()))
        pruned = torch.zeros(len(flat), dtype=torch.bool)
        pruned[flat.argsort(descending=True, stable=True)[: round(self.share * len(flat))]] = True
        parts = pruned.split([len(part) for part in scores.values()])
        chosen = {name: torch.nonzero(part).flatten().tolist() for name, part in zip(scores, parts, strict=True)}
        for name, part in scores.items():
            log_units(run, name, part, chosen[name])
        run.note(pruned_share=self.share, pruned_layers=self.layers)
        keep = prune_features(victim, chosen[FEATURES]) if self.layers == "last" else _prune_units(victim, chosen)
        self.fine_tune(victim, fit, run, after_step=keep)
        return victim


def _prune_units(victim: Model, chosen: Mapping[str, list[int]]) -> Callable[[], None]:
    """Silence these units of each layer, and return what silences them again, after each step of a fine-tuning."""
    found = unit_layers(victim)

    def keep() -> None:
        for layer in found:
            layer.prune(chosen[layer.name])

    keep()
    return keep
