"""What moves parameters: SGD with momentum without `torch.optim`, whose first use imports torch's compiler, 0.95 s in
every job; and any of torch's optimizers."""

from collections.abc import Iterable
from typing import Protocol

import torch

from workflow_scripts.networks.recipe import Recipe


class Optimizer(Protocol):
    """What the training loop asks of an optimizer."""

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def step(self, lr: float) -> None:
        """One step at this learning rate on every parameter that has a gradient."""


class TorchOptimizer:
    """One of `torch.optim`'s, Adam say; the learning rate is the recipe's."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def step(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()


class SGD:
    """Equal bit by bit to `torch.optim.SGD(..., fused=True)` (a test holds it), which it falls back to.

    `torch._fused_sgd_` is private: this is the only place that calls it.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], recipe: Recipe):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.recipe = recipe
        self.momenta = [torch.zeros_like(p) for p in self.parameters]
        self.first = True
        self.fallback = None
        if not hasattr(torch, "_fused_sgd_"):
            kept = {key: getattr(recipe, key) for key in ("lr", "momentum", "weight_decay", "nesterov")}
            self.fallback = TorchOptimizer(torch.optim.SGD(self.parameters, **kept))

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        if self.fallback is not None:
            self.fallback.step(lr)
            return
        live, gradients = [], []
        for position, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                live.append(position)
                gradients.append(parameter.grad)
        torch._fused_sgd_(
            [self.parameters[i] for i in live],
            gradients,
            [self.momenta[i] for i in live] if self.recipe.momentum else [],
            weight_decay=self.recipe.weight_decay,
            momentum=self.recipe.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=self.recipe.nesterov,
            maximize=False,
            is_first_step=self.first,
        )
        self.first = False
