"""A multi-layer perceptron on the features of a frozen network."""

from dataclasses import dataclass

from torch import nn

from workflow_scripts.common.fields import AuxiliaryName, Count, NonNegative, Positive, Whole
from workflow_scripts.networks.architecture import Architecture, Head
from workflow_scripts.networks.recipe import Precision


@dataclass(frozen=True)
class Probe(Architecture):
    """The head of Hölder Pruning (ICLR 2025 submission yJduhi9mDQ): features of a frozen extractor, hidden layers of
    ReLU neurons, a classifier. Only these are trained, pruned and saved: the network of a probe is its head.

    extractor: the auxiliary below; hidden: neurons of each hidden layer.

    Differences: the submission says neither widths nor optimizer. SGD of the one training loop takes the place of Adam;
    the weight decay, on which the defense hangs, is a field like any other. Without crop and flip the features are
    computed once.
    """

    lacks = ("stages", "batch normalization")  # type: ignore[assignment]
    parameters = 396_554

    extractor: AuxiliaryName = "simclr"
    hidden: tuple[Count, ...] = (512, 256)
    epochs: Count = 30
    lr: Positive = 0.05
    batch_size: Count = 256
    weight_decay: NonNegative = 0.01
    crop: Whole = 0
    flip: bool = False
    precision: Precision = "fp32"

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        return build_perceptron((channels, *self.hidden), classes)


def build_perceptron(widths: tuple[int, ...], classes: int) -> nn.Sequential:
    """Linear layers of these widths (the first is the input's), each with a ReLU, and a classifier."""
    hidden = [part for i, o in zip(widths, widths[1:], strict=False) for part in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*hidden, Head(widths[-1], classes))
