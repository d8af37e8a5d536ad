"""CIFAR-10, as torchvision reads it."""

from dataclasses import dataclass

from workflow_scripts.common.images import Images
from workflow_scripts.datasets._cifar import Cifar


@dataclass(frozen=True)
class Cifar10(Cifar):
    """Ten classes of 6,000 images each (Krizhevsky 2009). Normalized as BackdoorBench does.

    folder: where `cifar-10-batches-py/` lies; downloaded there where there is a network and it does not.
    """

    title = "CIFAR-10"
    archive = "cifar-10-python.tar.gz"
    unpacked = "cifar-10-batches-py"
    first = "data_batch_1"
    train_counts = (5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000)

    def load(self) -> tuple[Images, Images]:
        from torchvision.datasets import CIFAR10

        return self.read(CIFAR10, (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))
