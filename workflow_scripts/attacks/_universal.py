"""Attacks whose trigger is a universal perturbation of a clean model: one searches it as the other does, but for how it
keeps the perturbation in bounds."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.attacks import DataPoison, Poison, Trigger, to_uint8
from workflow_scripts.common.fields import Count, ModelName, PositiveShare
from workflow_scripts.common.images import Images, stratified_order
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.universal import Update, search_perturbation

JUDGED = 10
"""Images for each class, in their proportion, that say how many answers the perturbation changes."""


@dataclass(frozen=True)
class UniversalAttack(DataPoison):
    """Adds one pattern to each image, which a search finds that moves a clean model's answers to the attacker's labels:
    to the target, or (all-to-all) to each image's own.

    surrogate: the architecture of the clean model, which has the cell's seed: where it is the victim's, both begin with
    the same weights. samples: training images that are searched on, drawn by class; epochs: passes over them at most.
    fooling: the share of judged images, ten times as many as there are classes and others where `samples` leaves some,
    whose answers change when the search ends: the clean model takes about as many triggered images for another class.
    """

    surrogate: ModelName = "preact_resnet18"
    samples: Count = 100
    epochs: Count = 50
    fooling: PositiveShare = 0.2

    def __call__(  # type: ignore[override]
        self, train: Images, clean_victim: Model, ratio: float, run: Run
    ) -> Poison:
        payload = self.take(train, self.select(train, ratio, run))
        return self.poison(payload, add_pattern(self.search(train, clean_victim, run)))

    def search(self, train: Images, clean_victim: Model, run: Run) -> np.ndarray:
        """float32 (H, W, C), in gray levels: the pattern."""
        classes = len(train.format.classes)
        order = stratified_order(train.labels, run.numpy_rng("universal"))
        seen, judged = train[order[: self.samples]], train[order[-JUDGED * classes :]]
        found = search_perturbation(
            clean_victim,
            seen,
            self.target_labels(seen.labels, classes),
            judged,
            self.make_update(train.format.shape),
            run,
            epochs=self.epochs,
            fooling=self.fooling,
        )
        pattern: np.ndarray = 255 * found[0].permute(1, 2, 0).numpy()
        return pattern

    def make_update(self, shape: tuple[int, int, int]) -> Update:
        """How a step changes the pattern, for images of this shape (H, W, C)."""
        raise NotImplementedError


def add_pattern(pattern: np.ndarray) -> Trigger:
    """The trigger that adds these gray levels (H, W, C)."""
    return lambda images: to_uint8(images + pattern)
