"""SGD with momentum without `torch.optim`, whose first use imports torch's compiler: 0.95 s in every job."""

from collections.abc import Iterable

import torch

from workflow_scripts.training.recipe import Recipe


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
            self.fallback = torch.optim.SGD(
                self.parameters,
                lr=recipe.lr,
                momentum=recipe.momentum,
                weight_decay=recipe.weight_decay,
                nesterov=recipe.nesterov,
            )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step at this learning rate on every parameter that has a gradient."""
        if self.fallback is not None:
            self.fallback.param_groups[0]["lr"] = lr
            self.fallback.step()
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
