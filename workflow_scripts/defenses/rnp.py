"""Reconstructive Neuron Pruning for Backdoor Defense."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from workflow_scripts.common.fields import Count, Positive, PositiveShare, Share, Size
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import HoldoutDefense
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.unlearning import unlearn
from workflow_scripts.training.inference import extract_features
from workflow_scripts.training.loader import Batch
from workflow_scripts.units.masks import MaskedNetwork, Masks, prune_fallen
from workflow_scripts.units.selection import Selection


@dataclass(frozen=True)
class ReconstructiveNeuronPruning(HoldoutDefense):
    """Unlearn the clean images, bring them back by masks of the neurons alone, and silence in the victim the neurons
    whose mask had to fall for that: what is left of a model without its clean task is the backdoor (Li, Lyu, Ma, Koren,
    Lyu, Li, Jiang; ICML 2023, arXiv 2305.14876). The neurons are those of `anp`.

    unlearn_epochs at most at unlearn_lr, in the second half at a tenth of it, until the accuracy on the batches of an
    epoch is at most stop_accuracy; max_norm: longer gradients are shortened to it. recover_epochs of the masks at
    learning rate lr, alpha times the loss. max_drop: how far the accuracy on the held-back fifth of the holdout may
    fall; grid: the step between two thresholds. selection: `random` silences as many neurons, drawn among all.

    Differences: the threshold is chosen as in `anp`, where the official code has 0.7 and BackdoorBench picks by ASR on
    the test set. Gradients are shortened when they are there: both do so before, in vain. Both stages are in float32.
    """

    suspicious = "low"
    silences = "scales"

    holdout_size: Size = 0.01
    unlearn_epochs: Count = 20
    unlearn_lr: Positive = 0.01
    stop_accuracy: Share = 0.2
    max_norm: Positive = 20.0
    recover_epochs: Count = 20
    lr: Positive = 0.2
    alpha: Positive = 0.2
    batch_size: Count = 128
    max_drop: Share = 0.02
    grid: PositiveShare = 0.05
    selection: Selection = "own"

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        fit, validation = (extract_features(victim, part, victim.recipe) for part in holdout.split())
        masks = self.recover(MaskedNetwork(self.unlearn(victim, fit, run)), fit, run)
        return prune_fallen(
            victim, masks, validation, run, max_drop=self.max_drop, grid=self.grid, selection=self.selection
        )

    def unlearn(self, victim: Model, data: Images, run: Run) -> Model:
        """A copy of the victim whose clean loss has been maximized, with the recipe's weight decay."""
        return unlearn(
            victim,
            data,
            run,
            epochs=self.unlearn_epochs,
            lr=self.unlearn_lr,
            batch_size=self.batch_size,
            stop_accuracy=self.stop_accuracy,
            weight_decay=victim.recipe.weight_decay,
            max_norm=self.max_norm,
            shuffled=True,
            online=True,
            tenth_after=(self.unlearn_epochs + 1) // 2,
        )

    def recover(self, masked: MaskedNetwork, data: Images, run: Run) -> Masks:
        """One mask in [0, 1] for each neuron of each layer that minimizes the clean loss again."""

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            logits = masked.logits(batch.images)
            loss = F.cross_entropy(logits, batch.labels)
            (self.alpha * loss).backward()  # type: ignore[no-untyped-call]
            return logits, loss

        return masked.learn(
            data,
            run,
            step,
            phase="recovering",
            lr=self.lr,
            batch_size=self.batch_size,
            epochs=self.recover_epochs,
        )
