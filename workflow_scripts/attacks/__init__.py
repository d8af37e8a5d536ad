"""What an attack is: a frozen dataclass whose call alters some training images and returns them with its trigger."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Whole
from workflow_scripts.common.images import Images, format_bound
from workflow_scripts.common.run import Run

Trigger = Callable[[np.ndarray], np.ndarray]
"""uint8 images (N, H, W, C) to uint8 images of the same shape."""


@dataclass(frozen=True)
class Poison:
    """What an attack makes: the altered training images as published, their true labels and roles (`payload`, `cover`),
    and the trigger.

    `victim` is the trained `Model` of an attack that controls training, None otherwise.
    """

    altered: Images
    original_labels: np.ndarray
    roles: np.ndarray
    trigger: Trigger
    victim: Any = None


class Attack:
    """What a call makes of the training images is an attack's `Poison`."""

    clean_label = False

    def asr_subset(self, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """The test images of these true labels that ASR counts, as positions, and the attacker's label of each."""
        raise NotImplementedError


@dataclass(frozen=True)
class DataPoison(Attack):
    """An attack that alters images: `make_trigger` is the one thing that an ordinary one has of its own.

    target: the class that triggered images shall be taken for (`all_to_one`).
    mapping: `all_to_one`, or `all_to_all` for the label y + 1 mod K.
    placement: whether triggered images `replace` their originals, or are added to the training set (`append`).
    Clean-label attacks (`clean_label = True`) trigger images of the target class only and change no label.
    """

    target: Whole = 0
    mapping: Literal["all_to_one", "all_to_all"] = "all_to_one"
    placement: Literal["replace", "append"] = "replace"

    def __call__(self, train: Images, ratio: float, run: Run) -> Poison:
        payload = self.take(train, self.select(train, ratio, run))
        return self.poison(payload, self.make_trigger(train.format.shape, run))

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        """The trigger for images of this shape (H, W, C)."""
        raise NotImplementedError

    def select(self, train: Images, ratio: float, run: Run) -> np.ndarray:
        """Positions of the round(ratio · N) payload images, drawn without replacement.

        A prefix of one random order, so a larger ratio contains the smaller one. UserError if there are too few.
        """
        check_target(self, train)
        pool = np.flatnonzero(train.labels == self.target) if self.clean_label else np.arange(len(train))
        count = round(ratio * len(train))
        if not count and ratio:
            raise UserError(f"ratio {ratio:g} asks for none of the {len(train)} images")
        if count > len(pool):
            raise UserError(
                f"ratio {ratio:g} asks for {count} images of class {self.target}, which has {len(pool)}: "
                f"the ratio may be at most {format_bound(len(pool) / len(train))}"
            )
        return run.numpy_rng("selection").permutation(pool)[:count]

    def take(self, train: Images, chosen: np.ndarray) -> Images:
        """The images at these positions, in the places where they will be published."""
        payload = train[chosen]
        if self.placement == "replace":
            return payload
        return replace(payload, index=train.index.max() + 1 + np.arange(len(payload)))

    def poison(self, payload: Images, trigger: Trigger) -> Poison:
        """These images triggered and relabeled."""
        labels = self.target_labels(payload.labels, len(payload.format.classes))
        altered = Images(trigger(payload.images), labels, payload.index, payload.format)
        return Poison(altered, payload.labels, np.full(len(altered), "payload"), trigger)

    def target_labels(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """The label that the attacker wants for triggered images of these true labels."""
        if self.mapping == "all_to_all":
            return (labels + 1) % classes
        return np.full_like(labels, self.target)

    def asr_subset(self, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Those whose true label the attacker wants anyhow prove nothing and are left out (all-to-all: nothing is)."""
        wanted = self.target_labels(labels, classes)
        rows = np.flatnonzero(wanted != labels)
        return rows, wanted[rows]


def check_target(attack: DataPoison, train: Images) -> None:
    """UserError if the target is no class of the dataset."""
    if attack.target >= len(train.format.classes):
        raise UserError(f"target is {attack.target}; there are the classes 0 to {len(train.format.classes) - 1}")


def scale_length(shape: tuple[int, int, int], pixels: int) -> int:
    """A length given for 32-pixel images, at this image size, at least one pixel: ceil(pixels · side / 32), of the
    shorter side."""
    return max(1, -(-pixels * min(shape[:2]) // 32))


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Rounded and clipped before the cast, which would truncate and wrap around."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
