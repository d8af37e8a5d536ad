"""What a dataset loader is: a frozen dataclass whose `load` gives the training and the test images as uint8."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import PositiveShare, Share
from workflow_scripts.common.images import ImageFormat, Images, check_labels, stratified_order
from workflow_scripts.common.run import Run

AT_ONCE = 2**17
"""Pixels counted together, or one image."""


@dataclass(frozen=True)
class Dataset:
    """holdout: the largest share of the training images that a defender may be given.

    reserve: a share of the training images that is kept out of everybody's training; where it is above 0, holdouts
    are drawn from there.
    """

    holdout: PositiveShare = 0.25
    reserve: Share = 0.0

    def missing(self) -> str:
        """What is not there, and what to put where, in a line; nothing where `load` finds it or can download it.

        Asked while planning: cheap, and without torch or torchvision.
        """
        return ""

    def sources(self) -> tuple[Path, ...]:
        """The files and folders that `load` reads, whether they are there or not; nothing where it reads none."""
        return ()

    def load(self) -> tuple[Images, Images]:
        """Training and test images. UserError if there are none to be had."""
        raise NotImplementedError

    def prepare(self, run: Run) -> tuple[Images, Images, Images]:
        """Training, test and reserved images."""
        train, test = self.load()
        for name, part in (("training", train), ("test", test)):
            if not len(part):
                raise UserError(f"{run.dataset}: there are no {name} images")
            check_labels(part.labels, len(part.format.classes), f"{run.dataset}, {name} images")
        if len(classes := train.format.classes) < 2:
            raise UserError(f"{run.dataset}: its one class is {classes[0]!r}; a backdoor needs another to lead to")
        if not self.reserve:
            return renumber(train), test, train[:0]  # without a copy of all
        order = stratified_order(train.labels, run.numpy_rng("reserve"))
        kept = round(self.reserve * len(train))
        rest, reserved = np.sort(order[kept:]), np.sort(order[:kept])
        self._check_reserve(train.labels, rest, run.dataset)
        return renumber(train[rest]), test, train[reserved]

    def _check_reserve(self, labels: np.ndarray, rest: np.ndarray, dataset: str) -> None:
        """UserError if nothing is reserved of these labels, or if the rest lacks a class that they have."""
        if len(rest) == len(labels):
            raise UserError(
                f"{dataset}: reserve is {self.reserve:g}, less than one of the {len(labels)} training images; it must "
                f"be 0 or at least {1 / len(labels):.2g}"
            )
        if lost := sorted(set(labels.tolist()) - set(labels[rest].tolist())):
            raise UserError(
                f"{dataset}: reserve is {self.reserve:g}, which leaves {len(lost)} classes without a training image, "
                f"class {lost[0]} among them; it must be less"
            )

    def draw_holdout(self, train: Images, reserved: Images, run: Run) -> Images:
        """The holdout of a seed, in a class-stratified order whose prefixes are the smaller holdouts."""
        source = reserved if len(reserved) else train
        order = stratified_order(source.labels, run.numpy_rng("holdout"))
        count = len(source) if len(reserved) else round(self.holdout * len(train))
        if not count:
            raise UserError(
                f"{run.dataset}: holdout is {self.holdout:g}, less than one of the {len(train)} training images; it "
                f"must be at least {1 / len(train):.2g}"
            )
        return source[order[:count]]


def renumber(data: Images) -> Images:
    """The images with the index 0 … N - 1."""
    return replace(data, index=np.arange(len(data)))


def from_arrays(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    classes: Sequence[str],
) -> tuple[Images, Images]:
    """Images of two (images uint8 (N, H, W, C), labels) pairs; mean and std are those of the training pixels."""
    histograms = [_count_values(train[0][..., c]) / max(1, train[0][..., c].size) for c in range(train[0].shape[-1])]
    levels = np.arange(256) / 255
    mean = [float(h @ levels) for h in histograms]
    std = [max(float(h @ levels**2) - m**2, 0.0) ** 0.5 or 1.0 for h, m in zip(histograms, mean, strict=True)]
    height, width, channels = train[0].shape[1:]
    form = ImageFormat((height, width, channels), tuple(classes), tuple(mean), tuple(std))
    first, second = (Images(i, np.asarray(y, np.int64), np.arange(len(i)), form) for i, y in (train, test))
    return first, second


def _count_values(pixels: np.ndarray) -> np.ndarray:
    """int64 (256,): how often each value occurs in uint8 images (N, H, W), some of them at a time: counting makes
    eight bytes of each pixel."""
    counts = np.zeros(256, np.int64)
    step = max(1, AT_ONCE // max(1, pixels[:1].size))
    for start in range(0, len(pixels), step):
        counts += np.bincount(pixels[start : start + step].ravel(), minlength=256)
    return counts
