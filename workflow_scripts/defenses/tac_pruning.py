"""Pruning by an oracle, as a control."""

from dataclasses import dataclass, replace

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.defenses._share import SharePruning
from workflow_scripts.networks.model import Model
from workflow_scripts.units.tac import divide_by_layer_mean, trigger_activated_change


@dataclass(frozen=True)
class TacPruning(SharePruning):
    """Silence the share of the units that the trigger changes most, by TAC on the triggered test images: what pruning
    single units could do if it knew the trigger. A score that comes near it finds the backdoor's units.

    TAC is taken where a unit is silenced (after the normalization; of the last layer, at the inputs of the head), and
    divided by its mean over the layer, by which `all` layers share one ranking. Of the clean model, where no image is
    triggered, nothing is silenced.
    """

    def __call__(self, victim: Model, holdout: Images, test: Images, truth: Truth, run: Run) -> Model:
        found = trigger_activated_change(victim, test, truth)
        scores = {name: divide_by_layer_mean(found[name]) for name in self.counts(victim)}
        method = self if len(truth.triggered) else replace(self, share=0.0)
        return method.prune(victim, scores, holdout, run)
