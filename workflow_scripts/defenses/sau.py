"""Shared Adversarial Unlearning: Backdoor Mitigation by Unlearning Shared Adversarial Examples."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from workflow_scripts.common.fields import Byte, Count, NonNegative, Positive, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import Step, train
from workflow_scripts.training.optimizers import TorchOptimizer


@dataclass(frozen=True)
class SharedAdversarialUnlearning(FineTuningDefense):
    """Move clean images to where the victim and the network that it becomes err alike, and teach the latter not to
    (Wei, Zhang, Zha, Wu; NeurIPS 2023, arXiv 2307.10562).

    Inside (`SharedAdversary`): steps of projected gradient descent on lambda3 · L_adv + lambda4 · L_share. Outside:
    lambda1 · cross-entropy of the clean images and lambda2 · L_sar, which is -log(1 - p) summed over the moved images
    that the victim takes for a class that is not their label, p the probability of that class, divided by the number of
    images. AMSGrad at a constant rate without weight decay on images without augmentation; both networks in evaluation
    mode and float32, for the signs of gradients count.

    Differences: moved images are cut to [0, 1] (BackdoorBench's, also the authors', are not), and L_sar, which is two
    equal terms with their logarithms clamped there, is one from the logits; there it leaves out images that the victim
    takes for a wrong class even without the change. The weight of moved images' cross-entropy, 0 there, is left out.
    """

    lr: Positive = 1e-4
    epochs: Whole = 100
    eps: Byte = 51.0
    step: Byte = 51.0
    steps: Count = 5
    lambda1: NonNegative = 1.0
    lambda2: NonNegative = 1.0
    lambda3: NonNegative = 0.01
    lambda4: NonNegative = 1.0

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        run.note(finetune_epochs=self.epochs)
        if self.epochs:
            student, before = in_float32(victim), in_float32(victim).requires_grad_(False).eval()
            recipe = replace(student.recipe, epochs=self.epochs, lr=self.lr, batch_size=self.batch_size)
            recipe = replace(recipe, schedule="constant", crop=0, flip=False)
            adam = TorchOptimizer(torch.optim.Adam(student.parameters(), amsgrad=True))
            step = self.make_step(student, before)
            train(student, holdout, recipe, run, phase="fine-tuning", step=step, optimizer=adam)
            victim.network.load_state_dict(student.network.state_dict())
        return victim

    def make_step(self, student: Model, before: Model) -> Step:
        """The step of the student, the victim `before` it was changed being frozen (algorithm 1)."""
        adversary = SharedAdversary(self.eps / 255, self.step / 255, self.steps, self.lambda3, self.lambda4)

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            student.eval()
            images = batch.images.float() / 255
            moved = adversary.perturb(student, before, images, batch.labels)
            logits, moved_logits = student(torch.cat([images, moved])).split(len(images))
            with torch.no_grad():
                shared = before(moved).argmax(1)
            risk = unlearning_risk(moved_logits, shared, batch.labels)
            loss = self.lambda1 * F.cross_entropy(logits, batch.labels) + self.lambda2 * risk
            loss.backward()  # type: ignore[no-untyped-call]
            return logits, loss

        return step


@dataclass(frozen=True)
class SharedAdversary:
    """Projected gradient descent in the L∞ ball of radius eps, in [0, 1], from its corner of all +eps.

    L_adv is minus half the cross-entropy of each network that is not misled yet, L_share the Jensen-Shannon divergence
    of both answers until both are misled to one class; misled is who answers otherwise than about the clean image.
    """

    eps: float
    step: float
    steps: int
    adversarial: float
    sharing: float

    def perturb(self, model: Model, other: Model, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """float32 (B, C, H, W) in [0, 1]: images (B, C, H, W) in [0, 1] of these labels (B,), moved."""
        with torch.no_grad():
            own, others = model(images).argmax(1), other(images).argmax(1)
        moved, rows = (images + self.eps).clamp(0, 1), torch.arange(len(images), device=images.device)
        for _ in range(self.steps):
            there = moved[rows].requires_grad_()
            answers, others_answers = model(there), other(there)
            first, second = answers.argmax(1) != own[rows], others_answers.argmax(1) != others[rows]
            apart = ~(first & second & (answers.argmax(1) == others_answers.argmax(1)))
            if not apart.any():
                break
            known = _sum_entropy(answers, labels[rows], ~first) + _sum_entropy(others_answers, labels[rows], ~second)
            divergence = _divergence(answers, others_answers)[apart].sum()
            (gradient,) = torch.autograd.grad(self.sharing * divergence - self.adversarial * known / 2, there)
            change = there.detach() - self.step * gradient.sign() - images[rows]
            moved[rows] = (images[rows] + change.clamp(-self.eps, self.eps)).clamp(0, 1)
            rows = rows[apart]  # what is shared has no gradient any more
        return moved


def unlearning_risk(logits: torch.Tensor, shared: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """L_sar of logits (B, K), the other network's classes (B,) and the labels (B,): a scalar."""
    others = logits.scatter(1, shared[:, None], -torch.inf).logsumexp(1)
    return (logits.logsumexp(1) - others)[shared != labels].sum() / len(labels)


def _sum_entropy(logits: torch.Tensor, labels: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits[chosen], labels[chosen], reduction="sum")


def _divergence(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(B,): Jensen-Shannon, in nats, of the classes' probabilities."""
    p, q = (values.softmax(1).clamp_min(1e-8) for values in (logits, others))
    middle = (p + q) / 2
    return (p * p.log() + q * q.log() - (p + q) * middle.log()).sum(1) / 2
