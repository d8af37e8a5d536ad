"""Semi-supervised learning: FixMatch."""

import torch
import torch.nn.functional as F

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.techniques.contrastive import Contrastive, make_two_views
from workflow_scripts.techniques.mixmatch import cycle_batches
from workflow_scripts.training.augmentation import crop_and_flip
from workflow_scripts.training.loader import Batch, to_network
from workflow_scripts.training.loop import train


def fixmatch(
    model: Model,
    labeled: Images,
    unlabeled: Images,
    recipe: Recipe,
    run: Run,
    *,
    phase: str,
    views: Contrastive,
    sure: float = 0.95,
    ratio: int = 7,
    weight: float = 1.0,
) -> None:
    """Train in place on labeled images and on others whose labels are not looked at (Sohn, Berthelot, Li, Zhang,
    Carlini, Cubuk, Kurakin, Zhang, Raffel; NeurIPS 2020, arXiv 2001.07685).

    Of `ratio` unlabeled images for each labeled one, those that are predicted with a probability of at least `sure`
    after the recipe's augmentation are to be predicted so after a strong one. An epoch is one of the labeled images.

    Difference: the strong augmentation is a view of contrastive training, in place of CTAugment.
    """
    drawn = cycle_batches(unlabeled, ratio * recipe.batch_size, run, phase)
    weak, strong = crop_and_flip(recipe), make_two_views(views)
    shifts, changes = run.torch_rng(f"{phase}/weak"), run.torch_rng(f"{phase}/strong")

    def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = batch.images, batch.labels
        others = next(drawn)
        changed = to_network(strong(others, changes)[: len(others)])
        inputs = torch.cat([images, to_network(weak(others, shifts))]).float() / 255
        logits = model(torch.cat([inputs, changed]))
        known, weak_logits, strong_logits = logits.split([len(labels), len(others), len(others)])
        probability, guessed = weak_logits.detach().softmax(1).max(1)
        agreement = (F.cross_entropy(strong_logits, guessed, reduction="none") * (probability >= sure)).mean()
        loss = F.cross_entropy(known, labels) + weight * agreement
        loss.backward()  # type: ignore[no-untyped-call]
        return known, loss

    train(model, labeled, recipe, run, phase=phase, step=step)
