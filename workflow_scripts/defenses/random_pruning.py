"""Pruning at random, as a control."""

from dataclasses import dataclass

import torch

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses._share import SharePruning
from workflow_scripts.networks.model import Model


@dataclass(frozen=True)
class RandomPruning(SharePruning):
    """Silence a share of the units drawn at random: a pruning method that this equals has shown nothing.

    A unit's score says how early it was drawn.
    """

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        counts = self.counts(victim)
        total = sum(counts.values())
        scores = torch.empty(total)
        scores[torch.randperm(total, generator=run.torch_rng("random pruning"))] = torch.arange(total, 0.0, -1)
        drawn = dict(zip(counts, scores.split(list(counts.values())), strict=True))
        return self.prune(victim, drawn, holdout, run)
