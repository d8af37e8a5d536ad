"""CIFAR-100, as torchvision reads it."""

from dataclasses import dataclass

from workflow_scripts.common.images import Images
from workflow_scripts.datasets._cifar import Cifar


@dataclass(frozen=True)
class Cifar100(Cifar):
    """A hundred classes, the fine labels, of 600 images each (Krizhevsky 2009). Normalized as BackdoorBench does.

    folder: where `cifar-100-python/` lies; downloaded there where there is a network and it does not.
    """

    title = "CIFAR-100"
    archive = "cifar-100-python.tar.gz"
    unpacked = "cifar-100-python"
    first = "train"

    def load(self) -> tuple[Images, Images]:
        from torchvision.datasets import CIFAR100

        return self.read(CIFAR100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
