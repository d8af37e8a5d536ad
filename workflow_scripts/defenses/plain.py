"""Ordinary training on the published images, as a control."""

from dataclasses import dataclass

from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model


@dataclass(frozen=True)
class Plain(Defense):
    """What in-training defenses are held against. Of a data poison that is the victim itself; of an attack that
    controls training it shows whether the attack survives retraining."""

    control = True
    stands_for = "retrained"

    def __call__(self, retrained: Model, run: Run) -> Model:
        return retrained
