"""Asking a network."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from workflow_scripts.common.images import Images
from workflow_scripts.models import Model
from workflow_scripts.training.loader import to_network
from workflow_scripts.training.recipe import Recipe

BATCH = 500


@torch.no_grad()
def logits(model: Model, images: np.ndarray, size: int = BATCH) -> torch.Tensor:
    """float32 (N, K) on the CPU for uint8 images (N, H, W, C), in evaluation mode, `size` images at a time."""
    model.eval()
    parts = [model(batch).float().cpu() for batch in batches(model, images, size)]
    return torch.cat(parts) if parts else torch.empty(0, len(model.format.classes))


def batches(model: Model, images: np.ndarray, size: int = BATCH) -> Iterator[torch.Tensor]:
    """uint8 (B, C, H, W) on the model's device; cached features (B, D) as they are."""
    for start in range(0, len(images), size):
        yield to_network(torch.from_numpy(images[start : start + size])).to(model.mean.device)


def predict(model: Model, images: np.ndarray) -> np.ndarray:
    """The predicted class of each image, -1 where there is none: a tie for the largest logit, or one not finite.

    An argmax would call both class 0, which is the usual target: a dead network would look like a perfect backdoor.
    """
    return decided(logits(model, images))


def decided(answers: torch.Tensor) -> np.ndarray:
    """int64 (N,) classes of logits (N, K): -1 for a tie or what is not finite."""
    best, classes = answers.max(1) if len(answers) else (answers.sum(1), answers.sum(1).long())
    sure = torch.isfinite(answers).all(1) & ((answers == best[:, None]).sum(1) == 1)
    return torch.where(sure, classes, -1).numpy()


def accuracy(model: Model, data: Images) -> float:
    """Share of images that get their label."""
    return float((predict(model, data.images) == data.labels).mean())


@torch.no_grad()
def cached(model: Model, data: Images, recipe: Recipe) -> Images:
    """`data` with its extractor's features, float32 (N, D), in place of images, where the model has an extractor and
    the recipe no augmentation: the frozen part is asked once, not in every epoch."""
    if model.extractor is None or recipe.crop or recipe.flip or data.images.ndim == 2:
        return data
    found = [model.extractor(batch).cpu() for batch in batches(model, data.images)]
    return replace(data, images=torch.cat(found).numpy())
