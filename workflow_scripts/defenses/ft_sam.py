"""Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from workflow_scripts.common.fields import NonNegative, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.hooks import keep_running_statistics
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import extract_features
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import Step


@dataclass(frozen=True)
class FineTuningSAM(FineTuningDefense):
    """Fine-tune by the gradient at the worst place nearby, where near is farther for large weights, as those of the
    backdoor's neurons are (Zhu, Wei, Shen, Fan, Wu; ICCV 2023, arXiv 2304.11823; adaptive SAM: Kwon, Kim, Park, Choi;
    ICML 2021, arXiv 2102.11600).

    With the gradient g at the weights w, that at w + rho · w² g / ‖w g‖ is followed: squares and products by element,
    the norm over all parameters. Running statistics see the first of the two passes. rho is the paper's for CIFAR-10,
    8 for GTSRB and Tiny ImageNet. label_smoothing: the share of a label's weight that the other classes have.

    The paper's clean images are class-balanced; a holdout has the classes in the training set's proportions, which on
    CIFAR-10 is the same. Difference: the learning rate falls along one cosine, epoch by epoch; BackdoorBench steps its
    schedule of 100 epochs with every batch, so that it falls and rises with a period of 200 steps.
    """

    rho: NonNegative = 2.0
    label_smoothing: Share = 0.1

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        data = extract_features(victim, holdout, victim.recipe)
        self.fine_tune(victim, data, run, step=self.make_step(victim))
        return victim

    def make_step(self, model: Model) -> Step:
        """The step of two passes; the loss that it tells is that of the first."""

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            logits, loss = self._pass(model, batch)
            moved = perturb_weights(model, self.rho)
            model.zero_grad()
            with keep_running_statistics(model):
                self._pass(model, batch)
            with torch.no_grad():
                for parameter, before in moved:
                    parameter.copy_(before)
            return logits, loss

        return step

    def _pass(self, model: Model, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and loss, whose gradients are left in the parameters."""
        logits = model(batch.images)
        others = self.label_smoothing / (logits.shape[1] - 1)
        targets = torch.full_like(logits, others).scatter(1, batch.labels[:, None], 1 - self.label_smoothing)
        loss = F.cross_entropy(logits, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return logits.detach(), loss.detach()


@torch.no_grad()
def perturb_weights(model: Model, rho: float) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
    """Move every parameter that has a gradient in place, as the class says; the parameters, and what they were."""
    found = [(parameter, parameter.grad) for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.stack([(parameter * gradient).norm() for parameter, gradient in found]).norm()
    norm = norm.clamp_min(torch.finfo(torch.float32).tiny)  # gradients of zero move nothing
    before = [(parameter, parameter.clone()) for parameter, _ in found]
    for parameter, gradient in found:
        parameter.add_(rho / norm * parameter.square() * gradient)
    return before
