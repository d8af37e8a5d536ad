"""An extractor trained on half the clean images and their labels."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries.supervised import Supervised
from workflow_scripts.common.fields import PositiveShare


@dataclass(frozen=True)
class SupervisedHalf(Supervised):
    """As `supervised`; a probe on it sees twice as many images as it did."""

    share: PositiveShare = 0.5
