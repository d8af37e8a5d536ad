"""Asking a network."""

from collections.abc import Iterator

import numpy as np
import torch

from workflow_scripts.common.images import Images
from workflow_scripts.models import Model
from workflow_scripts.training.loader import to_network

BATCH = 500


@torch.no_grad()
def logits(model: Model, images: np.ndarray) -> torch.Tensor:
    """float32 (N, K) on the CPU for uint8 images (N, H, W, C), in evaluation mode."""
    model.eval()
    parts = [model(batch).float().cpu() for batch in batches(model, images)]
    return torch.cat(parts) if parts else torch.empty(0, len(model.format.classes))


def batches(model: Model, images: np.ndarray) -> Iterator[torch.Tensor]:
    """uint8 (B, C, H, W) on the model's device."""
    for start in range(0, len(images), BATCH):
        yield to_network(torch.from_numpy(images[start : start + BATCH])).to(model.mean.device)


def predict(model: Model, images: np.ndarray) -> np.ndarray:
    """The predicted class of each image, -1 where there is none: a tie for the largest logit, or one not finite.

    An argmax would call both class 0, which is the usual target: a dead network would look like a perfect backdoor.
    """
    answers = logits(model, images)
    best, classes = answers.max(1) if len(answers) else (answers.sum(1), answers.sum(1).long())
    decided = torch.isfinite(answers).all(1) & ((answers == best[:, None]).sum(1) == 1)
    return torch.where(decided, classes, -1).numpy()


def accuracy(model: Model, data: Images) -> float:
    """Share of images that get their label."""
    return float((predict(model, data.images) == data.labels).mean())
