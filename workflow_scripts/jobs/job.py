"""One method of one job, called with what its signature names: files are read here, and only those that it asks for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workflow_scripts.common import arguments, catalog, spellings
from workflow_scripts.common.run import Run


@dataclass(frozen=True)
class Job:
    """axis: which of the wildcards names the method: attack, defense, detector, analysis, auxiliary or model.

    made: `fingerprint`, `params` (the resolved hyper-parameters by axis) and `wildcards`; inputs: the paths by name.
    """

    axis: str
    made: Mapping[str, Any]
    inputs: Mapping[str, Any]
    run: Run

    @classmethod
    def of(
        cls, axis: str, made: Mapping[str, Any], inputs: Mapping[str, Any], passes: Counter[str] | None = None
    ) -> "Job":
        """The job of a rule, its random streams named by the dataset and the seed; passes: what counts its work."""
        wildcards = made["wildcards"]
        run = Run(wildcards["dataset"], int(wildcards["seed"]), passes=Counter() if passes is None else passes)
        return cls(axis, made, dict(inputs.items()), run)

    @property
    def wildcards(self) -> Mapping[str, str]:
        return self.made["wildcards"]  # type: ignore[no-any-return]

    @property
    def kind(self) -> str:
        return catalog.KIND_OF_AXIS[self.axis]

    @property
    def name(self) -> str:
        return spellings.method_name(self.wildcards[self.axis])

    @property
    def params(self) -> Mapping[str, Any]:
        """The method's own hyper-parameters."""
        return self.made["params"][self.axis]  # type: ignore[no-any-return]

    @property
    def about(self) -> dict[str, Any]:
        """What goes into the metadata of what is made."""
        return {**self.made, "notes": self.run.notes}

    @cached_property
    def method(self) -> Any:
        """The method with its hyper-parameters."""
        return catalog.make(self.kind, self.name, self.params)

    def call(self) -> Any:
        """Call the method with what its signature names."""
        return self.method(**{name: self.argument(name) for name in catalog.describe(self.kind, self.name).asks})

    def argument(self, name: str) -> Any:
        """One argument, read from its files."""
        reader = arguments.find_reader(name, catalog.describe(self.kind, self.name).named.get(name, ""))
        return arguments.call_reader(self, reader, name)
