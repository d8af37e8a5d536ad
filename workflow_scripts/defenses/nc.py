"""Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.common.fields import Count, Positive, PositiveShare
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.techniques.inversion import Inversion, ReversedTrigger

CONSISTENT = 1.4826
"""Times the median absolute deviation: the standard deviation, of normally distributed values."""


@dataclass(frozen=True)
class NeuralCleanse(FineTuningDefense):
    """Reverse a trigger for each class, and unlearn those that are suspiciously small (Wang, Yao, Shan, Li, Viswanath,
    Zheng, Zhao; S&P 2019).

    inversion_epochs at inversion_lr, with cost, success and patience as `Inversion` has them. A class is flagged whose
    mask's ℓ1 norm lies more than `threshold` deviations below the median of all; then the victim is fine-tuned on the
    holdout, of which the share `stamped`, once for each flagged class, carries the trigger and its own label. Where
    none is flagged, the victim stays as it is.

    The paper has no CIFAR-10 and unlearns in one epoch: what it does not say is as in BackdoorBench. Differences from
    that: an inversion succeeds at the paper's 99 % (there 98 %), on images without augmentation. A class without
    success counts as a mask of the whole image (there, and in the paper's code, by the mask that failed). The median of
    an even number is the mean of the middle two (there the lower). Triggers are used as they were found (there after a
    stretch to the range of an image file), and the model that is fine-tuned is the one that is kept.
    """

    inversion_epochs: Count = 80
    inversion_lr: Positive = 0.1
    cost: Positive = 1e-3
    success: PositiveShare = 0.99
    patience: Count = 5
    threshold: Positive = 2.0
    stamped: PositiveShare = 0.2

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        triggers = self.invert_all(victim, holdout, run)
        norms = [float(trigger.mask.sum() if trigger.found else trigger.mask.numel()) for trigger in triggers]
        indices = anomaly_indices(norms)
        flagged = [label for label, index in enumerate(indices) if index > self.threshold]
        for label, (norm, index, trigger) in enumerate(zip(norms, indices, triggers, strict=True)):
            about = {"found": trigger.found, "norm": norm, "anomaly": index, "flagged": label in flagged}
            run.log("class", label=label, **about)
        run.log("choice", name="flagged classes", value=len(flagged))
        run.note(flagged=flagged, finetune_epochs=0)
        if flagged:
            self.fine_tune(victim, self.stamp(holdout, [triggers[label] for label in flagged]), run)
        return victim

    def invert_all(self, victim: Model, holdout: Images, run: Run) -> list[ReversedTrigger]:
        """The triggers of all classes."""
        exact = in_float32(victim).requires_grad_(False)
        how = Inversion(
            self.inversion_epochs, self.inversion_lr, self.batch_size, self.cost, self.success, self.patience
        )
        return [how.invert(exact, holdout, label, run) for label in range(len(victim.format.classes))]

    def stamp(self, holdout: Images, triggers: Sequence[ReversedTrigger]) -> Images:
        """The holdout, its last share once under each of the triggers and not by itself."""
        clean, rest = holdout.split(1 - self.stamped)
        parts = [clean, *(replace(rest, images=trigger.stamp_bytes(rest.images)) for trigger in triggers)]
        images, labels, index = (
            np.concatenate([getattr(part, key) for part in parts]) for key in ("images", "labels", "index")
        )
        return replace(holdout, images=images, labels=labels, index=index)


def anomaly_indices(norms: Sequence[float]) -> list[float]:
    """How far each norm lies below the median of all, in standard deviations by the median absolute deviation (section
    IV.B); negative above it, infinite where the others do not deviate at all."""
    below = float(np.median(norms)) - np.array(norms)
    deviation = max(CONSISTENT * float(np.median(np.abs(below))), np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        return (below / deviation).tolist()
