"""Fine-tuning that keeps gradients small: L + λ‖∇L‖ by finite differences."""

from typing import Literal

import torch
import torch.nn.functional as F

from workflow_scripts.networks.hooks import keep_running_statistics
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Batch

GradientNorm = Literal["per_tensor", "global"]


class ActivenessAware:
    """The step and what follows it, for `train` (TSBD, stage 2: Lin et al.; NeurIPS 2024, arXiv 2405.20291).

    The gradient is (1 - alpha) · ∇L(θ) + alpha · ∇L(θ + radius · ∇L(θ) / ‖∇L(θ)‖), alpha = λ / radius. norm: of each
    parameter tensor by itself, as the official code has it, so that each moves by the radius; or `global`, of all.

    Both passes see the batch's own statistics and leave the running ones alone, as on the official code's throw-away
    copy; those move in a third pass after the step, by `after_step`.
    """

    def __init__(self, model: Model, radius: float, alpha: float, norm: GradientNorm):
        self.model, self.radius, self.alpha, self.norm = model, radius, alpha, norm
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.seen = torch.empty(0)

    def step(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, K) and loss of a batch at θ; the gradients are left in the parameters."""
        images, labels = batch.images, batch.labels
        self.seen = images
        with keep_running_statistics(self.model):
            logits, loss, mixed = self._pass(images, labels)
            if self.alpha:
                start = [p.detach().clone() for p in self.parameters]
                self._move(mixed)
                _, _, moved = self._pass(images, labels)
                self._restore(start)
                mixed = [(1 - self.alpha) * g + self.alpha * h for g, h in zip(mixed, moved, strict=True)]
        for parameter, gradient in zip(self.parameters, mixed, strict=True):
            parameter.grad = gradient
        return logits, loss

    @torch.no_grad()
    def after_step(self) -> None:
        """Show the stepped model the batch again: its running statistics follow."""
        self.model(self.seen)

    def _pass(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        logits = self.model(images)
        loss = F.cross_entropy(logits, labels)
        return logits.detach(), loss.detach(), list(torch.autograd.grad(loss, self.parameters))

    @torch.no_grad()
    def _move(self, gradients: list[torch.Tensor]) -> None:
        norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
        if self.norm == "global":
            norms = torch.linalg.vector_norm(norms).expand(len(gradients))
        norms = norms.clamp_min(torch.finfo(torch.float32).tiny)  # a gradient of zero moves nothing
        for parameter, gradient, norm in zip(self.parameters, gradients, norms, strict=True):
            parameter.add_(self.radius * (gradient / norm))

    @torch.no_grad()
    def _restore(self, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)
