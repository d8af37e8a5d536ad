"""Very Deep Convolutional Networks: the VGG-16, with batch normalization."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from workflow_scripts.common.fields import Count, Share, Whole
from workflow_scripts.models._libraries import in_sequence
from workflow_scripts.networks.architecture import Architecture, Head


@dataclass(frozen=True)
class VGG16BN(Architecture):
    """Convolutions of 3x3 with a pooling behind each stage (Simonyan, Zisserman; ICLR 2015, arXiv 1409.1556), as
    torchvision has them, and BackdoorBench for images of 32 pixels too, whose one last position it repeats 49 times.

    width: channels of the first stage, doubled by each further one up to eight times; blocks: convolutions of each
    stage. hidden: neurons of the classifier's two hidden layers, at the given dropout; 0: none, above the mean over all
    positions, which is the form of 15 million parameters that others have for CIFAR-10.
    """

    parameters = 134_309_962

    width: Count = 64
    blocks: tuple[Count, ...] = (2, 2, 3, 3, 3)
    hidden: Whole = 4096
    dropout: Share = 0.5

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        widths = [self.width * min(2**stage, 8) for stage in range(len(self.blocks))]
        features, inside = list[nn.Module](), channels
        for width, count in zip(widths, self.blocks, strict=True):
            for _ in range(count):
                features += [nn.Conv2d(inside, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                inside = width
            features.append(nn.MaxPool2d(2))
        return in_sequence(
            features=nn.Sequential(*features),
            avgpool=nn.AdaptiveAvgPool2d(7 if self.hidden else 1),
            flatten=nn.Flatten(),
            classifier=self._build_classifier(inside, classes),
        )

    def _build_classifier(self, inside: int, classes: int) -> nn.Module:
        if not self.hidden:
            return Head(inside, classes)
        parts: list[Any] = []
        for width in (inside * 49, self.hidden):
            parts += [nn.Linear(width, self.hidden), nn.ReLU(), nn.Dropout(self.dropout)]
        return nn.Sequential(*parts, Head(self.hidden, classes))
