"""Deep Residual Learning for Image Recognition: the ResNet-34."""

from dataclasses import dataclass

from workflow_scripts.common.fields import Count
from workflow_scripts.models.resnet18 import ResNet18


@dataclass(frozen=True)
class ResNet34(ResNet18):
    """`resnet18` with twice as many blocks (He, Zhang, Ren, Sun; CVPR 2016, arXiv 1512.03385)."""

    parameters = 21_282_122

    blocks: tuple[Count, ...] = (3, 4, 6, 3)
