"""What stands behind a name in a method's signature: files are read here, and only those that the method asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workflow_scripts.common import catalog, files, truth
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run


@dataclass(frozen=True)
class Job:
    """One method of one cell.

    axis: which of the cell's wildcards names the method: attack, defense or analysis.
    made: `fingerprint` and `params`, the resolved hyper-parameters by axis; inputs: the paths by name.
    """

    axis: str
    wildcards: Any
    made: Mapping[str, Any]
    inputs: Mapping[str, Any]
    run: Run

    @classmethod
    def of(cls, axis: str, wildcards: Any, made: Mapping[str, Any], inputs: Mapping[str, Any]) -> "Job":
        """The job of a rule, its random streams named by the dataset and the seed."""
        return cls(axis, wildcards, made, dict(inputs.items()), Run(wildcards.dataset, int(wildcards.seed)))

    @property
    def kind(self) -> str:
        return catalog.KIND_OF_AXIS[self.axis]

    @property
    def name(self) -> str:
        return catalog.name(getattr(self.wildcards, self.axis))

    @property
    def params(self) -> Mapping[str, Any]:
        return self.made["params"][self.axis]

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
        asked = catalog.describe(self.kind, self.name).asks
        return self.method(**{name: self.argument(name) for name in asked})

    def argument(self, name: str) -> Any:
        """One argument, read from its files."""
        match name:
            case "run":
                return self.run
            case "ratio":
                return float(self.wildcards.ratio)
            case "train" | "test":
                return self._images(name)
            case "poisoned_train":
                train, poison = (files.read_images(path)[0] for path in self.inputs[name])
                return train.overwritten(poison)
            case "holdout":
                return self._holdout()
            case "victim" | "clean_victim" | "retrained" | "defended":
                return self._network(name)
            case "model":
                return self._untrained()
            case "truth":
                return truth.read(self.inputs[name])
            case "defense":  # of an analysis: the cell's, with its hyper-parameters
                return catalog.make("defenses", catalog.name(self.wildcards.defense), self.made["params"]["defense"])
            case "log":
                return files.read_table(self.inputs[name])[0]
        raise TypeError(f"{self.name} asks for {name!r}, which nobody keeps")

    def _images(self, name: str) -> Images:
        return files.read_images(self.inputs[name])[0]

    def _holdout(self) -> Images:
        """The prefix of the holdout that the method's `holdout_size` names."""
        drawn, about = files.read_images(self.inputs["holdout"])
        size = self.params["holdout_size"]
        count = round(size * about["train_images"]) if size <= 1 else int(size)
        if count > len(drawn) or count < 1:
            raise UserError(
                f"{self.name}: holdout_size {size:g} asks for {count} images; the holdout of {self.run.dataset} has "
                f"{len(drawn)}: ask for less, or set a larger `holdout` in the dataset's entry of the configuration"
            )
        return drawn[:count]

    def _network(self, name: str) -> Any:
        from workflow_scripts.common import weights

        return weights.load(self.inputs[name], *self._architecture(), self.run.device, self._extractor())

    def _untrained(self) -> Any:
        from workflow_scripts.common import weights

        form = ImageFormat.from_json(files.read_about(self.inputs["model"]))
        return weights.untrained(*self._architecture(), form, self.run, self._extractor())

    def _extractor(self) -> Any:
        """The frozen network below the model, where its architecture asks for one."""
        from workflow_scripts.common import weights

        return weights.frozen(self.inputs["extractor"], self.run.device) if "extractor" in self.inputs else None

    def _architecture(self) -> tuple[str, Mapping[str, Any]]:
        """The cell's; of an auxiliary that its backbone's."""
        if self.axis == "auxiliary":
            return self.params["backbone"], self.made["params"]["backbone"]
        return catalog.name(self.wildcards.model), self.made["params"]["model"]
