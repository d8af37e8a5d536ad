"""Trojaning Attack on Neural Networks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from workflow_scripts.attacks import DataPoison, Poison, Trigger, to_uint8
from workflow_scripts.common.fields import Count, ModelName, Positive, PositiveShare
from workflow_scripts.common.images import Images
from workflow_scripts.common.progress import report
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model, in_float32, penultimate

START = 157 / 255
"""The gray of the mask before the search."""


@dataclass(frozen=True)
class TrojanNN(DataPoison):
    """A patch that excites neurons of a clean model (Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang; NDSS 2018, section 4). The
    victim is trained from scratch on what is published, as BackdoorBench has it; the paper retrains the clean model.

    surrogate: the architecture of the clean model, which has the cell's seed: where it is the victim's, both begin with
    the same weights. neurons: how many of its last hidden layer, those with the largest
    sum of absolute weights to the classes; level: the activation that is asked of them. steps: of the search, from a
    gray mask on black, each of `step` along the gradient's signs, at most `reach` from the gray, both of [0, 1]; the
    patch of the smallest loss is kept. mixing: whether it replaces what it covers, as in the paper, or is added to it
    and clipped (`add`), as BackdoorBench has it.

    Differences: BackdoorBench's probe has 1,000 classes, so that the weights that choose its neurons are random, and is
    asked without normalization; its sums wrap around at 256. The mask is drawn here, in the box of its apple.
    """

    surrogate: ModelName = "preact_resnet18"
    neurons: Count = 2
    level: Positive = 100.0
    steps: Count = 1000
    step: PositiveShare = 0.1
    reach: PositiveShare = 0.3
    mixing: Literal["replace", "add"] = "replace"

    def __call__(  # type: ignore[override]
        self, train: Images, clean_victim: Model, ratio: float, run: Run
    ) -> Poison:
        payload = self.take(train, self.select(train, ratio, run))
        mask = draw_mask(train.format.shape)
        return self.poison(payload, self.stamp(mask, self.search(clean_victim, mask, run)))

    def stamp(self, mask: np.ndarray, patch: np.ndarray) -> Trigger:
        """The trigger of a patch uint8 (H, W, C) where the mask (H, W) is."""
        if self.mixing == "add":
            return lambda images: to_uint8(images.astype(np.int16) + patch * mask[..., None])
        return lambda images: np.where(mask[..., None], patch, images)

    def search(self, clean_victim: Model, mask: np.ndarray, run: Run) -> np.ndarray:
        """uint8 (H, W, C): the patch that excites the neurons most like `level`, gray outside the mask (H, W)."""
        model = in_float32(clean_victim).requires_grad_(False).eval()
        chosen = connected_neurons(model, self.neurons)
        shown = torch.from_numpy(mask).to(model.mean.device)
        start = torch.full((1, len(model.format.mean), *mask.shape), START, device=shown.device)
        patch, best, losses = start, start, list[float]()
        for _ in report(range(self.steps), "exciting neurons: step", self.steps):
            patch = patch.detach().requires_grad_()
            excited = penultimate(model, patch * shown)[:, chosen]
            loss = (excited - self.level).square().sum()
            if not losses or loss.item() < min(losses):
                best = patch.detach()
            losses.append(loss.item())
            (slope,) = torch.autograd.grad(loss, patch)
            moved = (patch - self.step * slope.sign() - start).clamp(-self.reach, self.reach)
            patch = (start + moved).clamp(0, 1)
        run.note(loss_before=losses[0], loss_after=min(losses))
        return to_uint8(255 * best[0].permute(1, 2, 0).cpu().numpy())


def connected_neurons(model: Model, count: int) -> torch.Tensor:
    """int64 (count,): the features with the largest sums of absolute weights to the classes; all, if fewer."""
    return model.classifier.weight.detach().abs().sum(0).argsort(descending=True, stable=True)[:count]


def draw_mask(shape: tuple[int, int, int]) -> np.ndarray:
    """bool (H, W): an apple, a disc with a stem, in rows 16 to 29 and columns 17 to 28 of 32, to the bottom right."""
    height, width, _ = shape
    y, x = (np.arange(height)[:, None] + 0.5) * 32 / height, (np.arange(width)[None] + 0.5) * 32 / width
    body = ((y - 24.5) / 5.5) ** 2 + ((x - 23) / 6) ** 2 <= 1
    stem = (y >= 16) & (y < 20) & (x >= 22) & (x < 24)
    return body | stem
