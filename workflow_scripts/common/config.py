"""What `config.yaml` and `--config` may say: where things are, and what depends on the dataset."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.errors import UserError, join_names, repeat, show
from workflow_scripts.common.fields import RANGES, Field

SET = ("models", "attacks", "defenses", "detectors", "auxiliaries", "analyses")
"""The kinds of methods whose hyper-parameters may differ on a dataset."""
REPLACED = ("replace_datasets", "replace_models", "largest_ratios")
REFERENCE = Field("reference", None, float, RANGES["PositiveShare"][1])
KEYS = ("studies", "datasets", "settings", "dataset", "partial", "keep_models", "jobs_per_gpu", "commit")
RATIO = Field("ratio", None, float, RANGES["PositiveShare"][1])

SWITCHES = (
    Field("partial", False, bool),
    Field("keep_models", True, bool),
    Field("jobs_per_gpu", 1, int, RANGES["Count"][1]),
    Field("commit", "", str),
)


@dataclass(frozen=True)
class Config:
    """A checked configuration.

    `settings` maps a dataset to what differs there from the methods' own defaults, by kind and by method, besides what
    holds of a study that is run there in place of where it stands: `replace_datasets` and `replace_models` (a name to
    the name that takes its place) and `largest_ratios` (an attack's name to the largest ratio that it is asked for).
    jobs_per_gpu: how many compute at once on each GPU of a machine without a scheduler. commit: which one the rule
    `against` compares with.
    """

    studies: tuple[str, ...]
    datasets: dict[str, dict[str, Any]]
    settings: dict[str, dict[str, Any]]
    dataset: str | None = None
    partial: bool = False
    keep_models: bool = True
    jobs_per_gpu: int = 1
    commit: str = ""

    def settings_of(self, dataset: str) -> dict[str, Any]:
        """The settings of one dataset, by kind and by method."""
        return self.settings.get(dataset, {})

    def reference(self, dataset: str) -> float | None:
        """The clean accuracy that the literature has on a dataset; None where the configuration has none."""
        return self.datasets[dataset].get("reference")

    def loader(self, dataset: str) -> tuple[str, dict[str, Any]]:
        """The name of a dataset's loader and its resolved fields."""
        return self.datasets[dataset]["loader"], _resolve_loader(self.datasets[dataset])


def _resolve_loader(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved fields of a dataset's loader: all of its entry but these two."""
    fields = {key: value for key, value in entry.items() if key not in ("loader", "reference")}
    return spellings.resolve("datasets", entry["loader"], {"datasets": {entry["loader"]: fields}})


def check_mapping(value: Any, where: str) -> dict[str, Any]:
    """`value` if it is a mapping with text keys; UserError otherwise. One that says nothing says so by `{}`."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{where}: expected `key: value` pairs, got {show(value)}")
    return dict(value)


def check_keys(given: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    """UserError if a key is not among those allowed."""
    for key in given:
        if key not in allowed:
            raise UserError(f"{where}: no key {show(key)}; there are: {join_names(allowed)}")


def as_list(value: Any, where: str) -> list[Any]:
    """A list as it is, anything else as a list of one. UserError if it is empty or says a thing twice."""
    found = list(value) if isinstance(value, list | tuple) else [value]
    if not found or None in found:
        raise UserError(f"{where} is empty; it must name something")
    refuse_twice(found, where)
    return found


def refuse_twice(found: Sequence[Any], where: str) -> None:
    """UserError if a thing stands there twice: one of them would be dropped."""
    twice = [text for text, count in Counter(map(repeat, found)).items() if count > 1]
    if twice:
        raise UserError(f"{where}: {twice[0]:.80} stands there twice")


def read(raw: Mapping[str, Any], checked: bool = False) -> Config:
    """Check what Snakemake read from `config.yaml` and the command line. UserError names what is wrong. Of one that has
    been `checked`, the values of the settings are not read again."""
    raw = check_mapping(raw, "config")
    check_keys(raw, KEYS, "config")
    studies = as_list(raw.get("studies"), "config: studies")
    if not all(isinstance(study, str) for study in studies):
        raise UserError("config: studies must be a list of names of files in studies/, say [quickstart]")
    datasets = {
        name: check_mapping(entry, f"config, dataset {name}")
        for name, entry in check_mapping(raw.get("datasets"), "config, datasets").items()
    }
    for name, entry in datasets.items():
        _check_dataset(name, entry)
    settings = {
        name: _check_settings(name, entry, checked)
        for name, entry in check_mapping(raw.get("settings", {}), "config, settings").items()
    }
    standing = (part for own in settings.values() for pair in own.get("replace_datasets", {}).items() for part in pair)
    for name in (*settings, *standing, *([raw["dataset"]] if "dataset" in raw else [])):
        if not isinstance(name, str) or name not in datasets:
            raise UserError(f"config: no dataset {show(name)}; there are: {join_names(datasets)}")
    if isinstance(commit := raw.get("commit", ""), int | float):
        raise UserError(f"config: commit is read as {show(commit)}, no text; write ~0 behind it, say commit=9843193~0")
    try:
        own = {field.name: field.read(raw.get(field.name, field.default)) for field in SWITCHES}
    except UserError as error:
        raise UserError(f"config: {error}") from None
    return Config(tuple(studies), datasets, settings, raw.get("dataset"), **own)


def _check_dataset(name: str, entry: dict[str, Any]) -> None:
    if not re.fullmatch(r"[a-z0-9_]{1,60}", name):
        raise UserError(f"config: dataset {show(name)} must be named in lower-case letters, digits and _, 60 at most")
    if not isinstance(entry.get("loader"), str):
        raise UserError(
            f"config, dataset {name}: loader is missing or no name; there are: "
            f"{join_names(catalog.list_methods('datasets'))}"
        )
    try:
        catalog.check_name("datasets", entry["loader"])
        if "reference" in entry:
            entry["reference"] = REFERENCE.read(entry["reference"])
        resolved = _resolve_loader(entry)
    except UserError as error:
        raise UserError(f"config, dataset {name}: {error}") from None
    for key in catalog.describe("datasets", entry["loader"]).fields:
        if resolved[key] == "":
            raise UserError(f"config, dataset {name}: the loader {entry['loader']} needs {key!r}")


def _check_settings(dataset: str, raw: Any, checked: bool) -> dict[str, Any]:
    where = f"config, settings of {dataset}"
    settings = {key: check_mapping(value, f"{where}, {key}") for key, value in check_mapping(raw, where).items()}
    for key in settings:
        _check_setting(key, where)
    try:
        for model in (part for pair in settings.get("replace_models", {}).items() for part in pair):
            catalog.check_name("models", model)
        for attack, ratio in settings.get("largest_ratios", {}).items():
            catalog.check_name("attacks", attack)
            settings["largest_ratios"][attack] = replace(RATIO, name=f"the ratio of {attack}").read(ratio)
        for kind in settings.keys() & set(SET):
            for method, fields in settings[kind].items():
                catalog.check_name(kind, method)
                settings[kind][method] = check_mapping(fields, f"{kind}, {method}")
                if not checked:
                    spellings.resolve(kind, method, settings)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return settings


def _check_setting(key: str, where: str) -> None:
    """UserError, with the kinds that have a method of this name, where a key is none of those that may stand there."""
    if key in (*SET, *REPLACED):
        return
    kinds = [kind for kind in SET if key in catalog.list_methods(kind)]
    hint = f"; {key} belongs below {join_names(kinds)}" if kinds else ""
    raise UserError(f"{where}: no key {show(key)}; there are: {join_names((*SET, *REPLACED))}{hint}")
