"""No attack."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.attacks import Attack, Poison
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run


@dataclass(frozen=True)
class NoAttack(Attack):
    """Alters nothing: its victim is the clean model that every other is read against. Always at ratio 0."""

    def __call__(self, train: Images, ratio: float, run: Run) -> Poison:
        return Poison(train[:0], train.labels[:0], np.empty(0, str), lambda images: images)

    def asr_subset(self, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """No test image is triggered."""
        return np.empty(0, np.int64), np.empty(0, np.int64)
