"""Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks."""

from dataclasses import dataclass
from typing import Literal

import torch

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import PositiveShare, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.unlearning import unlearn
from workflow_scripts.units.features import penultimate_features, prune_features
from workflow_scripts.units.layers import log_units
from workflow_scripts.units.selection import Selection, select_units
from workflow_scripts.units.tac import FEATURES
from workflow_scripts.units.thresholds import list_steps, loses_more
from workflow_scripts.units.weight_change import neuron_layers, neuron_weight_changes, weight_changes


@dataclass(frozen=True)
class FinePruning(FineTuningDefense):
    """Cut the features of the last convolution that clean images leave dormant, then fine-tune (Liu, Dolan-Gavitt,
    Garg; RAID 2018, arXiv 1805.12185).

    step: the share of features cut at a time, the least active first; max_drop: how far the accuracy on the held-back
    fifth of the holdout may fall, after which the last cut that keeps it is kept. order: `nwc` cuts the features first
    whose filters clean unlearning changes most (TSBD, figure 8; its defaults of unlearning). selection: `random` cuts
    as many, drawn at random.

    Differences: the holdout decides when to stop (BackdoorBench asks the test set, and keeps the model that broke the
    tolerance, a tenth of the accuracy there, an absolute difference here). Activity is the mean absolute feature: the
    mean where features are activations; without a last normalization, pre-activation networks pool signed values. The
    mask stays while fine-tuning.
    """

    step: PositiveShare = 0.01
    max_drop: Share = 0.1
    order: Literal["activity", "nwc"] = "activity"
    selection: Selection = "own"

    @property
    def suspicious(self) -> str:
        return "low" if self.order == "activity" else "high"

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        fit, validation = holdout.split()
        scores = self._score_features(victim, fit, run)
        order = scores.argsort(descending=self.suspicious == "high")
        count = self._choose_count(victim, validation, order, run)
        own, sizes = {FEATURES: order[:count].tolist()}, {FEATURES: len(order)}
        pruned = select_units(self.selection, own, sizes, run, within=False)[FEATURES]
        log_units(run, FEATURES, scores, pruned)
        run.note(pruned_share=count / len(order), pruned_layers="last")
        self.fine_tune(victim, fit, run, after_step=prune_features(victim, pruned))
        return victim

    def _score_features(self, victim: Model, fit: Images, run: Run) -> torch.Tensor:
        """float32 (D,) on the CPU, of each feature: its activity, or the change of the neuron that computes it."""
        if self.order == "activity":
            return penultimate_features(victim, fit.images).abs().mean(0)
        name, layer = list(neuron_layers(victim).items())[-1]  # the residual branch's, where a shortcut is added
        count, wanted = len(layer.weight), victim.classifier.in_features
        if count != wanted:
            raise UserError(
                f"fp: order is 'nwc', but the classifier has {wanted} features and {name}, the last layer before it, "
                f"{count} neurons: they cannot be matched; activity is an order for every network"
            )
        changes = weight_changes(victim, unlearn(victim, fit, run))
        return neuron_weight_changes(changes)[name].cpu()

    @torch.no_grad()
    def _choose_count(self, victim: Model, validation: Images, order: torch.Tensor, run: Run) -> int:
        """How many features may go, in this order."""
        inputs, labels = penultimate_features(victim, validation.images), torch.from_numpy(validation.labels)
        linear = victim.classifier.cpu()
        kept = 0
        before = None
        for share in list_steps(self.step):
            count = round(share * len(order))
            inputs[:, order[:count]] = 0
            accuracy = float((linear(inputs).argmax(1) == labels).double().mean())
            run.log("choice", name="pruned features", value=count, holdout_accuracy=accuracy)
            before = accuracy if before is None else before
            if loses_more(before, accuracy, self.max_drop):
                break
            kept = count
        linear.to(run.device)
        return kept
