"""Trigger inversion: the smallest mask, with its pattern, by which a model takes every image for one class."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import train
from workflow_scripts.training.optimizers import TorchOptimizer

BETAS = (0.5, 0.9)
HEAVIER, LIGHTER = 2.0, 2.0**1.5
"""By how much the weight of the mask's size is multiplied, and divided."""
STALLED, LESS = 25, 0.99
"""The search ends after so many epochs without a mask of less than that part of the smallest one."""


@dataclass(frozen=True)
class ReversedTrigger:
    """`mask` float32 (1, H, W) and `pattern` (C, H, W), both in [0, 1]; found: whether the model falls for it."""

    mask: torch.Tensor
    pattern: torch.Tensor
    found: bool = False

    def detach(self, found: bool) -> "ReversedTrigger":
        """The same without what it was computed by."""
        return ReversedTrigger(self.mask.detach(), self.pattern.detach(), found)

    def stamp(self, images: torch.Tensor) -> torch.Tensor:
        """Float images (B, C, H, W) in [0, 1] under the pattern, as far as the mask lets it through."""
        return (1 - self.mask) * images + self.mask * self.pattern

    def stamp_bytes(self, images: np.ndarray) -> np.ndarray:
        """uint8 images (N, H, W, C) under it, rounded."""
        mask, pattern = (part.cpu().permute(1, 2, 0).numpy() for part in (self.mask, 255 * self.pattern))
        return np.rint((1 - mask) * images + mask * pattern).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Inversion:
    """How a trigger is searched (Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao; S&P 2019, section V.B).

    Adam at learning rate lr lowers the cross-entropy with the class plus a weight, `cost` at first, times the mask's ℓ1
    norm; mask and pattern are tanh / 2 + 1/2 of what is learned, which is 1 at first. That weight doubles after every
    `patience` epochs in a row in which the share `success` of the images got the class, and falls by 2^1.5 after as
    many in which they did not. What is kept is the smallest mask of an epoch that succeeded.
    """

    epochs: int
    lr: float
    batch_size: int
    cost: float
    success: float
    patience: int

    def invert(self, model: Model, data: Images, target: int, run: Run) -> ReversedTrigger:
        """The trigger of a class, on the images of all. The model is frozen, in float32 and asked in evaluation mode.
        Every epoch is logged under the class, its accuracy the share of images that got it."""
        recipe = replace(model.recipe, epochs=self.epochs, lr=self.lr, batch_size=self.batch_size)
        recipe = replace(recipe, schedule="constant", crop=0, flip=False)
        aimed = replace(data, labels=np.full_like(data.labels, target))
        search = Search(self, model)
        train(
            model,
            aimed,
            recipe,
            replace(run, notes={}),  # `diverged` would be said of the defended model, which is another one
            phase=f"class {target}",
            step=search.step,
            optimizer=TorchOptimizer(torch.optim.Adam([search.mask, search.pattern], betas=BETAS)),
            until=search.weigh,
        )
        return search.best or search.trigger().detach(found=False)


class Search:
    """The step of `Inversion` for `train`, and what follows each epoch."""

    def __init__(self, inversion: Inversion, model: Model):
        height, width, channels = model.format.shape
        self.inversion, self.model = inversion, model
        self.mask = torch.ones(1, height, width, device=model.mean.device, requires_grad=True)
        self.pattern = torch.ones(channels, height, width, device=model.mean.device, requires_grad=True)
        self.cost, self.seen = inversion.cost, list[torch.Tensor]()
        self.best: ReversedTrigger | None = None
        self.smallest = torch.inf
        self.successes = self.failures = self.stalled = 0
        self.raised = self.lowered = False

    def trigger(self) -> ReversedTrigger:
        """The one that is tried now."""
        return ReversedTrigger(self.mask.tanh() / 2 + 0.5, self.pattern.tanh() / 2 + 0.5)

    def step(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and loss on stamped images; gradients of mask and pattern."""
        self.model.eval()
        trigger = self.trigger()
        logits = self.model(trigger.stamp(batch.images.float() / 255))
        norm = trigger.mask.sum()
        loss = F.cross_entropy(logits, batch.labels) + self.cost * norm
        loss.backward()  # type: ignore[no-untyped-call]
        hits = (logits.argmax(1) == batch.labels).float().mean()
        self.seen.append(torch.stack([hits, norm]).detach())
        return logits, loss

    def weigh(self) -> bool:
        """Keep what is smallest, weigh the size anew, and say whether the search is over."""
        success, norm = torch.stack(self.seen).mean(0).tolist()
        self.seen.clear()
        succeeded, before = success >= self.inversion.success, self.smallest
        if succeeded and norm < self.smallest:
            self.best, self.smallest = self.trigger().detach(found=True), norm
        self.stalled = self.stalled + 1 if self.smallest >= LESS * before and self.best else 0
        if self.raised and self.lowered and self.stalled >= STALLED:
            return True
        self.successes, self.failures = (self.successes + 1, 0) if succeeded else (0, self.failures + 1)
        if self.successes == self.inversion.patience:
            self.cost, self.successes, self.raised = self.cost * HEAVIER, 0, True
        elif self.failures == self.inversion.patience:
            self.cost, self.failures, self.lowered = self.cost / LIGHTER, 0, True
        return False
