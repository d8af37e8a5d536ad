"""Self-supervised pre-training: two views of an image are to be alike, and unlike all other images'."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.fields import Count, NonNegative, Positive, PositiveShare, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.augmentation import Augment, color_jitter, gaussian_blur, random_resized_crop
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import Step, train

CROPPED, JITTERED, BLURRED = 5, 6, 2
"""Numbers that each change of a view takes."""


@dataclass(frozen=True)
class Contrastive:
    """SimCLR (Chen, Kornblith, Norouzi, Hinton; ICML 2020, arXiv 2002.05709), as DBD (Huang et al.; ICLR 2022, arXiv
    2202.03423) trains it on CIFAR-10, for the 100 epochs that BackdoorBench gives it in place of 1,000.

    projection: width of what the throw-away head gives; temperature: of NT-Xent. A view is a crop of at least
    crop_scale of the area, mirrored every other time if `flip`; in four of five, brightness, contrast and saturation
    change by up to the share `jitter` and the hue by up to `hue` turns; `gray` and `blur` are how often a view loses
    its color, and its detail to a Gaussian of 0.1 to 2 pixels.

    Differences: the learning rate falls to 0 over these epochs (BackdoorBench cuts a schedule of 1,000 off at 100);
    crops are bilinear; color changes come in one order, and hue is a rotation about the gray axis.
    """

    epochs: Count = 100
    lr: Positive = 0.4
    batch_size: Count = 512
    momentum: Share = 0.9
    weight_decay: NonNegative = 1e-4
    temperature: Positive = 0.5
    projection: Count = 128
    crop_scale: PositiveShare = 0.2
    flip: bool = True
    jitter: Share = 0.4
    hue: Share = 0.1
    gray: Share = 0.2
    blur: Share = 0.5


def pretrain(model: Model, data: Images, recipe: Contrastive, run: Run) -> None:
    """Train what lies below the model's classifier in place, without a look at the labels; the classifier stays as it
    is. The log's `accuracy` is the share of views that are nearer to their partner than to any other view."""
    plain = replace(
        model.recipe,
        epochs=recipe.epochs,
        lr=recipe.lr,
        batch_size=recipe.batch_size,
        schedule="cosine",
        momentum=recipe.momentum,
        nesterov=False,
        weight_decay=recipe.weight_decay,
    )
    unlabeled = replace(data, labels=np.zeros_like(data.labels))  # 0: the first of the two that `_alike` compares
    with projection_head(model, recipe.projection, run):
        step = _contrastive_step(model, recipe.temperature)
        train(model, unlabeled, plain, run, phase="contrastive", augment=make_two_views(recipe), step=step)


@contextmanager
def projection_head(model: Model, width: int, run: Run) -> Iterator[None]:
    """A block in which the model has, in place of its classifier, a projection of one hidden layer."""
    name, classifier = model.classifier_name, model.classifier
    inside = classifier.in_features
    with run.seeded("projection"):
        projection = nn.Sequential(nn.Linear(inside, inside), nn.ReLU(), nn.Linear(inside, width))
    model.network.set_submodule(name, projection.to(run.device))
    try:
        yield
    finally:
        model.network.set_submodule(name, classifier)


def scaled_similarities(projections: torch.Tensor, temperature: float) -> torch.Tensor:
    """(2B, 2B): cosines by the temperature of projections (2B, D), two views of B images, the second ones below the
    first; -inf of each with itself."""
    unit = F.normalize(projections)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    return (unit @ unit.T / temperature).masked_fill(itself, -math.inf)


def partner_rows(count: int, device: torch.device) -> torch.Tensor:
    """int64 (count,): the row of each view's partner."""
    return torch.arange(count, device=device).roll(count // 2)


def nt_xent(projections: torch.Tensor, temperature: float) -> torch.Tensor:
    """The loss (equation 1, mean over the 2B views) of projections as `similarities` takes them."""
    return F.cross_entropy(
        scaled_similarities(projections, temperature), partner_rows(len(projections), projections.device)
    )


def make_two_views(recipe: Contrastive) -> Augment:
    """uint8 (B, H, W, C) to float32 (2B, H, W, C) in [0, 1]: the first view of each, then the second."""

    widths = (CROPPED, JITTERED, BLURRED) if recipe.blur else (CROPPED, JITTERED)

    def draw(count: int, stream: torch.Generator) -> torch.Tensor:
        return torch.cat([torch.rand(width, 2 * count, generator=stream) for width in widths]).T

    def apply(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        crops, colors, blurs = drawn.tensor_split((CROPPED, CROPPED + JITTERED), 1)
        views = images.permute(0, 3, 1, 2).float().div(255).repeat(2, 1, 1, 1)
        views = random_resized_crop(views, crops, recipe.crop_scale, recipe.flip)
        views = color_jitter(views, colors, recipe.jitter, recipe.hue, recipe.gray)
        return gaussian_blur(views, blurs, recipe.blur).permute(0, 2, 3, 1)

    return Augment(draw, apply)


def _contrastive_step(model: Model, temperature: float) -> Step:
    """For `train`: its logits are the first views' similarities to their partner and to the nearest other view."""

    def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        views, count = batch.images, len(batch.labels)
        similarity = scaled_similarities(model(views), temperature)
        partner = partner_rows(len(views), views.device)
        loss = F.cross_entropy(similarity, partner)
        loss.backward()  # type: ignore[no-untyped-call]
        known = partner[:count, None]
        logits = similarity.detach()[:count]
        nearest = logits.scatter(1, known, -math.inf).amax(1, keepdim=True)
        return torch.cat([logits.gather(1, known), nearest], 1), loss

    return step
