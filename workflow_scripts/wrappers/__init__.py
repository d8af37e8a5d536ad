"""What a defense may add to an architecture: the file of its model names the wrapper, and loading applies it again."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflow_scripts.models import Protocol

if TYPE_CHECKING:
    from workflow_scripts.models import Model


@dataclass(frozen=True)
class Wrapper:
    """A change of a network. Its fields stand in the metadata of the file, so they must be plain values."""

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The ways in which the wrapped model may be asked."""
        return (Protocol(),)

    def apply(self, model: "Model") -> None:
        """Change the model's network in place, before its weights are loaded."""
        raise NotImplementedError

    def ask(self, model: "Model", protocol: Protocol) -> None:
        """Prepare the model for the questions of a protocol."""
