"""A self-supervised extractor of half the clean images."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries.simclr import SimCLR
from workflow_scripts.common.fields import PositiveShare


@dataclass(frozen=True)
class SimCLRHalf(SimCLR):
    """As `simclr`; a probe on it sees twice as many images as it did."""

    share: PositiveShare = 0.5
