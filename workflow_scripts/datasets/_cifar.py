"""What CIFAR-10 and CIFAR-100 share: torchvision's classes, one host, one kind of archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.common.images import Images
from workflow_scripts.datasets import from_arrays
from workflow_scripts.datasets._download import Published
from workflow_scripts.datasets._pictures import standardize


@dataclass(frozen=True)
class Cifar(Published):
    """60,000 images of 32x32 pixels, 50,000 of them to train."""

    host = "www.cs.toronto.edu"
    archive = ""
    """What is downloaded."""
    unpacked = ""
    """The folder in it."""
    first = ""
    """A file of that folder."""

    def parts(self) -> tuple[str, ...]:
        return (self.unpacked,)

    def remedy(self) -> str:
        place = Path(self.folder, self.unpacked, self.first)
        return f"Unpack {self.archive} from https://{self.host}/~kriz/cifar.html so that {place} is there and whole"

    def read(self, source: Any, mean: Sequence[float], std: Sequence[float]) -> tuple[Images, Images]:
        """Training and test images of a class of torchvision, downloaded first where they are not there, with this mean
        and std. UserError if there are none to be had."""
        with self.explaining():
            self.fetch(lambda folder: source(folder, download=True))
            train, test = (source(self.folder, train=train) for train in (True, False))
        pairs = [(part.data, np.asarray(part.targets)) for part in (train, test)]
        return standardize(from_arrays(pairs[0], pairs[1], train.classes), mean, std)
