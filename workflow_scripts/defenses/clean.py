"""The clean model, as a control."""

from dataclasses import dataclass

from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model


@dataclass(frozen=True)
class Clean(Defense):
    """The model trained on the clean images: the best that a defense can do. Its ASR is the floor of all others."""

    control = True
    stands_for = "clean_victim"

    def __call__(self, clean_victim: Model, run: Run) -> Model:
        return clean_victim
