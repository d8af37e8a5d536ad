"""Asking a network."""

from collections.abc import Iterator

import numpy as np
import torch

from workflow_scripts.common.images import Features, Images
from workflow_scripts.common.progress import report
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.training.loader import to_network
from workflow_scripts.training.transfer import send

BATCH, ON_GPU = 500, 1000
"""Images asked together at most: a GPU is to have enough to do with small networks too."""
PIXELS = BATCH * 64**2
"""Of all images asked together at most: of large ones as many as take the same memory."""


@torch.no_grad()
def logits(model: Model, images: np.ndarray, size: int = 0) -> torch.Tensor:
    """float32 (N, K) on the CPU for uint8 images (N, H, W, C), in evaluation mode, `size` images at a time, or as many
    as memory is meant for."""
    model.eval()
    parts = [model(batch).float() for batch in iterate_batches(model, images, size)]
    return torch.cat(parts).cpu() if parts else torch.empty(0, len(model.format.classes))


def iterate_batches(model: Model, images: np.ndarray, size: int = 0) -> Iterator[torch.Tensor]:
    """uint8 (B, C, H, W) on the model's device; extracted features (B, D) as they are."""
    device = model.mean.device
    if not size:
        pixels = images.shape[1] * images.shape[2] if images.ndim == 4 else 1
        size = min(ON_GPU if device.type == "cuda" else BATCH, max(1, PIXELS // pixels))
    starts = range(0, len(images), size)
    for start in report(starts, "asking about images: batch", len(starts)):
        yield to_network(send(torch.from_numpy(images[start : start + size]), device))


def predict(model: Model, images: np.ndarray) -> np.ndarray:
    """The predicted class of each image, -1 where there is none: a tie for the largest logit, or one not finite.

    An argmax would call both class 0, which is the usual target: a dead network would look like a perfect backdoor.
    """
    return predicted_class(logits(model, images))


def predicted_class(values: torch.Tensor) -> np.ndarray:
    """int64 (N,) classes of logits (N, K): -1 for a tie or what is not finite."""
    best, classes = values.max(1) if len(values) else (values.sum(1), values.sum(1).long())
    sure = torch.isfinite(values).all(1) & ((values == best[:, None]).sum(1) == 1)
    return torch.where(sure, classes, -1).numpy()


@torch.no_grad()
def suspicion_scores(model: Model, images: np.ndarray) -> np.ndarray | None:
    """float64 (N,): how suspicious the model's wrapper holds each image, where it judges inputs."""
    if model.wrapper is None or not model.wrapper.judges:
        return None
    parts = [model.wrapper.score(model.eval(), batch).double() for batch in iterate_batches(model, images)]
    return torch.cat(parts).cpu().numpy() if parts else np.empty(0)


def accuracy(model: Model, data: Images) -> float:
    """Share of images that get their label."""
    return float((predict(model, data.images) == data.labels).mean())


@torch.no_grad()
def extract_features(model: Model, data: Images, recipe: Recipe) -> Images:
    """The `Features` of the data, where the model stands on an extractor and the recipe has no augmentation: the frozen
    part is asked once, not in every epoch. Otherwise the data as they are."""
    if model.extractor is None or recipe.crop or recipe.flip or isinstance(data, Features):
        return data
    found = [model.extractor(batch) for batch in iterate_batches(model, data.images)]
    return Features(torch.cat(found).cpu().numpy(), data.labels, data.index, data.format)
