"""Anti-Backdoor Learning: Training Clean Models on Poisoned Data."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F

from workflow_scripts.common.fields import Count, NonNegative, Positive, PositiveShare
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model
from workflow_scripts.training import inference
from workflow_scripts.training.loop import train


@dataclass(frozen=True)
class AntiBackdoorLearning(Defense):
    """Find the images that are learned suspiciously fast, train on the others, and unlearn those (Li, Lyu, Koren, Lyu,
    Li, Ma; NeurIPS 2021, arXiv 2110.11571).

    isolation_epochs without augmentation, the loss held up at gamma by `flooding` |L - gamma| + gamma or by `lga`
    sign(L - gamma) · L; the share `isolate` of lowest loss is set aside; finetune_epochs on the rest, the learning rate
    a tenth from two thirds on; unlearn_epochs of gradient ascent on what was set aside, at unlearn_lr. The loss that
    ranks is asked in one pass in evaluation mode.

    Defaults are BackdoorBench's; the official code has learning rates ten times as large (unlearning: five times), 10
    and 5 epochs of isolation and unlearning, and Cutout. Difference: each phase starts with a fresh momentum.
    """

    isolation_epochs: Count = 20
    finetune_epochs: Count = 60
    unlearn_epochs: Count = 20
    lr: Positive = 0.01
    unlearn_lr: Positive = 1e-4
    isolate: PositiveShare = 0.01
    loss: Literal["flooding", "lga"] = "flooding"
    gamma: NonNegative = 0.5
    batch_size: Count = 256

    def __call__(self, poisoned_train: Images, model: Model, run: Run) -> Model:
        base = replace(
            model.recipe,
            lr=self.lr,
            batch_size=self.batch_size,
            weight_decay=1e-4,
            nesterov=True,
            schedule="constant",
        )
        still = replace(base, epochs=self.isolation_epochs, crop=0, flip=False)
        train(model, poisoned_train, still, run, phase="isolation", loss=self._hold_up())
        order = sample_losses(model, poisoned_train).argsort()
        isolated = order[: max(1, round(self.isolate * len(order)))]
        for position in isolated.tolist():
            run.log("isolated", index=int(poisoned_train.index[position]))
        rest = poisoned_train[order[len(isolated) :].sort().values.numpy()]
        train(model, rest, replace(base, epochs=self.finetune_epochs, schedule="step"), run, phase="fine-tuning")
        ascent = replace(base, epochs=self.unlearn_epochs, lr=self.unlearn_lr)
        suspects = poisoned_train[isolated.numpy()]
        train(
            model,
            suspects,
            ascent,
            run,
            phase="unlearning",
            loss=lambda logits, y: -F.cross_entropy(logits, y),
        )
        return model

    def _hold_up(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The loss that never falls far below gamma (equation 3; flooding: Ishida et al. 2020)."""

        def held_up(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            value = F.cross_entropy(logits, labels)
            if self.loss == "flooding":
                return (value - self.gamma).abs() + self.gamma
            return torch.sign(value.detach() - self.gamma) * value

        return held_up


def sample_losses(model: Model, data: Images) -> torch.Tensor:
    """float32 (N,): the cross-entropy of each image, in evaluation mode."""
    return F.cross_entropy(inference.logits(model, data.images), torch.from_numpy(data.labels), reduction="none")
