"""No defense."""

from dataclasses import dataclass

from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model


@dataclass(frozen=True)
class NoDefense(Defense):
    """The undefended victim."""

    stands_for = "victim"

    def __call__(self, victim: Model, run: Run) -> Model:
        return victim
