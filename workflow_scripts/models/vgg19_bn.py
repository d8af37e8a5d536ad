"""Very Deep Convolutional Networks: the VGG-19, with batch normalization."""

from dataclasses import dataclass

from workflow_scripts.common.fields import Count
from workflow_scripts.models.vgg16_bn import VGG16BN


@dataclass(frozen=True)
class VGG19BN(VGG16BN):
    """`vgg16_bn` with four convolutions in the last three stages (Simonyan, Zisserman; ICLR 2015, arXiv 1409.1556)."""

    parameters = 139_622_218

    blocks: tuple[Count, ...] = (2, 2, 4, 4, 4)
