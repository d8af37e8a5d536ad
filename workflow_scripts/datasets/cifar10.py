"""CIFAR-10, as torchvision reads it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.datasets import Dataset, from_arrays


@dataclass(frozen=True)
class Cifar10(Dataset):
    """60,000 images of 32x32 pixels, 50,000 of them to train (Krizhevsky 2009). Normalised as BackdoorBench does.

    folder: where `cifar-10-batches-py/` lies; downloaded there where there is a network and it does not.
    """

    folder: str = ""

    train_counts = (5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000)

    def load(self) -> tuple[Images, Images]:
        from torchvision.datasets import CIFAR10

        parts = []
        for train in (True, False):
            try:
                part = CIFAR10(self.folder, train=train, download=not Path(self.folder, CIFAR10.base_folder).is_dir())
            except (RuntimeError, OSError, EOFError, KeyError, ValueError) as error:
                raise UserError(
                    f"CIFAR-10 is not to be had: {' '.join(str(error).split())[:150]}. Unpack {CIFAR10.filename} from "
                    f"https://www.cs.toronto.edu/~kriz/cifar.html so that "
                    f"{self.folder}/{CIFAR10.base_folder}/data_batch_1 is there and whole"
                ) from None
            parts.append((part.data, np.asarray(part.targets)))
        images = from_arrays(parts[0], parts[1], part.classes)
        mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
        first, second = (replace(data, format=replace(data.format, mean=mean, std=std)) for data in images)
        return first, second
