"""A small pre-activation network, for images of 8 to 32 pixels on one core."""

from dataclasses import dataclass

from workflow_scripts.common.fields import Count
from workflow_scripts.models.preact_resnet18 import PreActResNet18


@dataclass(frozen=True)
class PreActSmall(PreActResNet18):
    """`preact_resnet18` with a quarter of its width and three stages of one block.

    With the paper's last normalization, so that every channel that can be pruned has one.
    """

    parameters = 77_850

    width: Count = 16
    blocks: tuple[Count, ...] = (1, 1, 1)
    last_norm: bool = True
