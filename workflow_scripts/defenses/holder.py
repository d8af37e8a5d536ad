"""Hölder Pruning: Localized Pruning for Backdoor Removal in Deep Neural Networks."""

from dataclasses import dataclass

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses._holder import HolderPruningDefense
from workflow_scripts.networks.model import Model


@dataclass(frozen=True)
class HolderPruning(HolderPruningDefense):
    """Silence the neurons whose output moves most for how far their layer's input moves (ICLR 2025 submission
    yJduhi9mDQ, withdrawn; its authors publish no code).

    The victim is a `probe`: a head trained on the published labels above a frozen extractor. Other networks are pruned
    channel by channel.

    Differences: the submission says neither what a step of FGSM ascends nor how a threshold follows from the density
    of the constants: the estimators, aggregations and rules here are readings, all of which a study may choose among.
    Each layer is pruned by its own threshold. Constants are computed in float32.
    """

    needs = ("estimator~head: an extractor", "estimator~neuron: an extractor")  # type: ignore[assignment]
    suspicious = "high"

    def __call__(self, victim: Model, poisoned_train: Images, run: Run) -> Model:
        share = self.prune(victim, poisoned_train, run)
        run.note(pruned_share=share, pruned_layers="all", finetune_epochs=0)
        return victim
