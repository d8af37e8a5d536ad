"""Semi-supervised learning: MixMatch."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.hooks import keep_running_statistics
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.training.augmentation import crop_and_flip
from workflow_scripts.training.loader import Batch, Resident, to_network
from workflow_scripts.training.loop import train
from workflow_scripts.training.transfer import send


def mixmatch(
    model: Model,
    labeled: Images,
    unlabeled: Images,
    recipe: Recipe,
    run: Run,
    *,
    phase: str,
    temperature: float = 0.5,
    alpha: float = 0.75,
    weight: float = 15.0,
) -> None:
    """Train in place on labeled images and on others whose labels are not looked at (Berthelot, Carlini, Goodfellow,
    Papernot, Oliver, Raffel; NeurIPS 2019, arXiv 1905.02249). The defaults are DBD's (arXiv 2202.03423).

    Unlabeled images, as many as labeled ones, get the mean prediction for two augmentations, sharpened by the
    temperature; all are mixed with each other by shares of Beta(alpha, alpha). The weight of the squared error on
    guessed labels rises linearly from 0 over all steps. An epoch is one of the labeled images.

    Differences: mixed images of both kinds share a batch of the normalization, whose running statistics the passes that
    guess leave alone. Where the recipe has no augmentation one pass guesses.
    """
    step = MixMatch(model, labeled, unlabeled, recipe, run, phase, temperature, alpha, weight).step
    train(model, labeled, recipe, run, phase=phase, step=step)


class MixMatch:
    """The step of `mixmatch` for `train`."""

    def __init__(
        self,
        model: Model,
        labeled: Images,
        unlabeled: Images,
        recipe: Recipe,
        run: Run,
        phase: str,
        temperature: float,
        alpha: float,
        weight: float,
    ):
        self.model, self.temperature, self.alpha, self.weight = model, temperature, alpha, weight
        self.unlabeled = cycle_batches(unlabeled, recipe.batch_size, run, phase)
        self.views = 2 if recipe.crop or recipe.flip else 1
        self.augment, self.shifts = crop_and_flip(recipe), run.torch_rng(f"{phase}/unlabelled augmentation")
        self.shares, self.pairs = run.numpy_rng(f"{phase}/shares"), run.torch_rng(f"{phase}/pairs")
        self.steps = recipe.epochs * Resident(labeled, run.device).batch_count(recipe.batch_size)
        self.done = 0

    def step(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The logits of what became of the labeled images, and the loss."""
        images, labels = batch.images, batch.labels
        drawn = next(self.unlabeled)
        views = [to_network(self.augment(drawn, self.shifts)) for _ in range(self.views)]
        guessed = self.guess_labels(torch.cat(views)).repeat(self.views, 1)
        inputs = torch.cat([images, *views]).float() / 255
        targets = torch.cat([F.one_hot(labels, guessed.shape[1]).float(), guessed])
        share = max(drawn_share := self.shares.beta(self.alpha, self.alpha), 1 - drawn_share)
        other = send(torch.randperm(len(inputs), generator=self.pairs), inputs.device)
        logits = self.model(share * inputs + (1 - share) * inputs[other])
        targets = share * targets + (1 - share) * targets[other]
        count = len(labels)
        known = F.cross_entropy(logits[:count], targets[:count])
        guesses = F.mse_loss(logits[count:].softmax(1), targets[count:])
        loss = known + self.weight * self.done / self.steps * guesses
        self.done += 1
        loss.backward()  # type: ignore[no-untyped-call]
        return logits[:count], loss

    @torch.no_grad()
    def guess_labels(self, views: torch.Tensor) -> torch.Tensor:
        """float32 (B, K): sharpened mean predictions for the views (views · B, C, H, W) of B images."""
        with keep_running_statistics(self.model):
            predicted = self.model(views).softmax(1).unflatten(0, (self.views, -1)).mean(0)
        return sharpen(predicted, self.temperature)


def sharpen(distributions: torch.Tensor, temperature: float) -> torch.Tensor:
    """Distributions (B, K) raised to the power 1 / temperature and made to sum to 1 (equation 7)."""
    powers = distributions ** (1 / temperature)
    return powers / powers.sum(1, keepdim=True)


def cycle_batches(data: Images, size: int, run: Run, phase: str) -> Iterator[torch.Tensor]:
    """uint8 batches (B, H, W, C), in a new random order whenever all were there."""
    resident, order = Resident(data, run.device), run.torch_rng(f"{phase}/unlabelled order")
    while True:
        for positions in resident.positions(size, order):
            yield resident.images[positions]
