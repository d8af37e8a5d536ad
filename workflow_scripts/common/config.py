"""What `config.yaml` and `--config` may say: where things are, and what depends on the dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflow_scripts.common import catalog
from workflow_scripts.common.errors import UserError, listed
from workflow_scripts.common.fields import Field

KEYS = ("studies", "datasets", "settings", "dataset", "partial", "keep_models")


@dataclass(frozen=True)
class Config:
    """A checked configuration.

    `settings` maps a dataset to what differs there from the methods' own defaults, besides `models` (a model's name to
    the name that takes its place) and `ratios` (an attack's name to the largest ratio that it is asked for).
    """

    studies: tuple[str, ...]
    datasets: dict[str, dict[str, Any]]
    settings: dict[str, dict[str, Any]]
    dataset: str | None = None
    partial: bool = False
    keep_models: bool = True

    def of(self, dataset: str) -> dict[str, Any]:
        """The settings of one dataset, by method."""
        return self.settings.get(dataset, {})

    def loader(self, dataset: str) -> tuple[str, dict[str, Any]]:
        """The name of a dataset's loader and its resolved fields."""
        entry = dict(self.datasets[dataset])
        loader = entry.pop("loader")
        return loader, catalog.resolve("datasets", loader, {loader: entry})


def mapping(value: Any, where: str) -> dict[str, Any]:
    """`value` if it is a mapping with text keys (nothing is an empty one); UserError otherwise."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{where}: expected `key: value` pairs, got {value!r}")
    return dict(value)


def only(given: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    """UserError if a key is not among those allowed."""
    for key in given:
        if key not in allowed:
            raise UserError(f"{where}: no key {key!r}; there are: {listed(allowed)}")


def as_list(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def read(raw: Mapping[str, Any]) -> Config:
    """Check what Snakemake read from `config.yaml` and the command line. UserError names what is wrong."""
    only(raw, KEYS, "config")
    studies = as_list(raw.get("studies") or [])
    if not studies or not all(isinstance(study, str) for study in studies):
        raise UserError("config: studies must be a list of names of files in studies/, say [quickstart]")
    datasets = {
        name: mapping(entry, f"config, dataset {name}")
        for name, entry in mapping(raw.get("datasets"), "config, datasets").items()
    }
    for name, entry in datasets.items():
        _check_dataset(name, entry)
    settings = {
        name: _settings(name, entry) for name, entry in mapping(raw.get("settings"), "config, settings").items()
    }
    for name in (*settings, *([raw["dataset"]] if raw.get("dataset") else [])):
        if not isinstance(name, str) or name not in datasets:
            raise UserError(f"config: no dataset {name!r}; there are: {listed(datasets)}")
    try:
        partial, keep = (Field(k, d, bool).read(raw.get(k, d)) for k, d in (("partial", False), ("keep_models", True)))
    except UserError as error:
        raise UserError(f"config: {error}") from None
    return Config(tuple(studies), datasets, settings, raw.get("dataset"), partial, keep)


def _check_dataset(name: str, entry: dict[str, Any]) -> None:
    if not name.replace("_", "").isalnum() or name != name.lower():
        raise UserError(f"config: dataset {name!r} must be named in lower-case letters, digits and _")
    if not isinstance(entry.get("loader"), str):
        raise UserError(
            f"config, dataset {name}: loader is missing or no name; there are: {listed(catalog.names('datasets'))}"
        )
    fields = {key: value for key, value in entry.items() if key != "loader"}
    try:
        resolved = catalog.resolve("datasets", entry["loader"], {entry["loader"]: fields})
    except UserError as error:
        raise UserError(f"config, dataset {name}: {error}") from None
    for key in catalog.describe("datasets", entry["loader"]).fields:
        if resolved[key] == "":
            raise UserError(f"config, dataset {name}: the loader {entry['loader']} needs {key!r}")


def _settings(dataset: str, raw: Any) -> dict[str, Any]:
    where = f"config, settings of {dataset}"
    settings = {method: mapping(value, f"{where}, {method}") for method, value in mapping(raw, where).items()}
    for old, new in settings.get("models", {}).items():
        for model in (old, new):
            if model not in catalog.names("models"):
                raise UserError(f"{where}: no {model!r} among the models; there are: {listed(catalog.names('models'))}")
    for attack, ratio in settings.get("ratios", {}).items():
        catalog.describe("attacks", attack)
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
            raise UserError(f"{where}: the ratio of {attack} is {ratio!r}; it must be above 0 and at most 1")
    for method in settings.keys() - {"models", "ratios"}:
        kinds = catalog.kind_of(method)
        if not kinds:
            raise UserError(f"{where}: there is no method {method!r}")
        try:
            catalog.resolve(kinds[0], method, settings)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return settings
