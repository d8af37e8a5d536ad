"""Fine-tuning."""

from dataclasses import dataclass

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.model import Model


@dataclass(frozen=True)
class FineTuning(FineTuningDefense):
    """Train on the clean holdout until the trigger is forgotten. Defaults as BackdoorBench has them."""

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        self.fine_tune(victim, holdout, run)
        return victim
