"""A poisoned set that somebody else has made, such as one of BackdoorBench's records."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from workflow_scripts.attacks import DataPoison, Poison, check_target
from workflow_scripts.attacks._records import (
    TEST,
    TRAIN,
    Altered,
    check_originals,
    check_ratio,
    find_part,
    list_images,
    read_pixels,
)
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run


@dataclass(frozen=True)
class Given(DataPoison):
    """Altered images as they lie in `data/records/RECORD/`: `bd_train_dataset/CLASS/PLACE.png`, those of the training
    set, and `bd_test_dataset/CLASS/PLACE.png`, test images under the trigger. CLASS is the number of the true class,
    PLACE that of the image, from 0, in the order of the data set, which is torchvision's. The study's dataset must be
    the one that was poisoned, its ratio the share that was.

    record: the folder's name. target and mapping say what the labels were changed to: the folder does not. Every
    altered image counts as payload, so that records of `wanet`, `inputaware` and `bpp` cannot be read: covers lie among
    the others, under their true labels, with nothing to tell them by. ASR is of the test images that are there.
    """

    of_record = ("bd_train_dataset", "bd_test_dataset")
    """What is read of the folder, which is looked for before a run."""

    placement: Literal["replace"] = "replace"
    record: str = "given"

    def __call__(self, train: Images, ratio: float, run: Run) -> Poison:
        check_target(self, train)
        classes, shape = len(train.format.classes), train.format.shape
        folder = find_part(self.record, TRAIN)
        found = list_images(folder)
        check_originals(found, train.labels)
        check_ratio(len(found.places), len(train), ratio, folder)
        images, labels = read_pixels(found.paths, shape), self.target_labels(found.labels, classes)
        altered = replace(train[found.places], images=images, labels=labels)
        roles = np.full(len(altered), "payload")
        return Poison(altered, found.labels, roles, lambda clean: read_pixels(self._list_counted(classes).paths, shape))

    def asr_subset(self, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """The test images that are there, but for those of the class that the attacker wants."""
        found = self._list_counted(classes)
        check_originals(found, labels)
        return found.places, self.target_labels(found.labels, classes)

    def _list_counted(self, classes: int) -> Altered:
        folder = find_part(self.record, TEST)
        found = list_images(folder)
        counted = found.take(self.target_labels(found.labels, classes) != found.labels)
        if not len(counted.places):
            raise UserError(f"{folder}: all its images are of the class that the attacker wants")
        return counted
