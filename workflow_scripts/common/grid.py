"""A study's grid into cells, each in its one spelling; what cannot be is said here."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.cells import Asked, Cell, format_ratio
from workflow_scripts.common.config import Config, as_list, check_keys, check_mapping, refuse_twice
from workflow_scripts.common.errors import UserError, join_names, show
from workflow_scripts.common.fields import RANGES, Field, Range
from workflow_scripts.common.images import check_holdout, count_holdout, format_bound

SEED = Field("grid: seed", None, int, Range(0, 2**31 - 1))
RATIO = Field("grid: ratio", None, float, RANGES["Share"][1])
MOST = 100_000
"""Cells of a study."""


class Spelled(NamedTuple):
    """A method as it stands in paths, and as the study names it."""

    path: str
    name: str


def expand_grid(raw: Any, config: Config) -> Iterator[Asked]:
    """The cells of a grid, as a study's file has it, with their names. UserError names what is wrong in it."""
    grid = check_mapping(raw, "grid")
    check_keys(grid, Cell._fields, "grid")
    for axis in Cell._fields:
        if axis not in grid:
            raise UserError(f"grid: {axis} is missing; a cell is made of {join_names(Cell._fields)}")
    asked = {axis: as_list(grid[axis], f"grid: {axis}") for axis in Cell._fields}
    datasets = _find_datasets(asked["dataset"], config)
    for dataset in datasets:
        if not isinstance(dataset, str) or dataset not in config.datasets:
            raise UserError(
                f"grid: no dataset {show(dataset)} in the configuration; there are: {join_names(config.datasets)}"
            )
    seeds = [str(SEED.read(seed)) for seed in asked["seed"]]
    ratios = [RATIO.read(ratio) for ratio in asked["ratio"]]
    refuse_twice(ratios, "grid: ratio")
    refuse_twice(seeds, "grid: seed")
    _expand_axis("attack", asked["attack"], {})
    for dataset, attack, ratio in itertools.product(datasets, asked["attack"], ratios):
        settings = config.settings_of(dataset)
        replaced = settings if config.dataset else {}
        models = _expand_axis("model", asked["model"], settings, replaced.get("replace_models"))
        defenses = _expand_axis("defense", asked["defense"], settings)
        for defense in defenses:
            _check_holdout(defense.path, dataset, config)
        for spelled in expand_spellings("attacks", attack, settings):
            largest = replaced.get("largest_ratios", {}).get(spellings.method_name(spelled.path), math.inf)
            share = _check_attack(spelled.path, min(ratio, largest), dataset, config)
            for kind, own in (("attacks", [spelled]), ("models", models), ("defenses", defenses)):
                for method in own:
                    _check_named(kind, method.path, spelled.path, dataset, config)
            for model, defense in itertools.product(models, defenses):
                _check_pair(model.path, defense.path, settings)
            for model, seed, defense in itertools.product(models, seeds, defenses):
                cell = Cell(dataset, model.path, spelled.path, share, seed, defense.path)
                yield Asked(cell, cell._replace(model=model.name, attack=spelled.name, defense=defense.name))


def _find_datasets(asked: Sequence[Any], config: Config) -> list[Any]:
    """The datasets of a grid; of a study that is run elsewhere that one, or the set that stands in place of each."""
    if not config.dataset:
        return list(asked)
    standing = config.settings_of(config.dataset).get("replace_datasets", {})
    return list(dict.fromkeys(standing.get(name, config.dataset) for name in map(str, asked)))


def _expand_axis(
    axis: str, entries: Sequence[Any], settings: Mapping[str, Any], replaced: Mapping[str, str] | None = None
) -> list[Spelled]:
    """The methods of an axis. UserError where one stands there twice, unless one is put in place of several."""
    kind = catalog.KIND_OF_AXIS[axis]
    found = [spelled for entry in entries for spelled in expand_spellings(kind, entry, settings, replaced)]
    if not replaced:
        refuse_twice([spelled.name for spelled in found], f"grid: {axis}")
    return found


def expand_spellings(
    kind: str, entry: Any, settings: Mapping[str, Any], replaced: Mapping[str, str] | None = None
) -> Iterator[Spelled]:
    """`{tsbd: {reinit: [v1, v2]}}` -> `tsbd+reinit~v1`, `tsbd+reinit~v2`; in a path without what the dataset's settings
    say anyway."""
    if isinstance(entry, str):
        entry = dict([spellings.parse_spelling(entry)])
    if entry == {}:
        raise UserError(f"grid, {kind}: {{}} names none of them")
    for method, fields in check_mapping(entry, f"grid, {kind}").items():
        name = (replaced or {}).get(method, method)
        chosen = check_mapping(fields, f"grid, {method}")
        known = catalog.describe(kind, name).fields
        lists = [_values(known.get(key), value, f"grid, {method}, {key}") for key, value in chosen.items()]
        if math.prod(map(len, lists)) > MOST:
            raise UserError(f"grid, {method}: more than {MOST} combinations of its fields")
        for values in itertools.product(*lists):
            given = dict(zip(chosen, values, strict=True))
            in_path = spellings.canonical_spelling(kind, name, given, settings)
            yield Spelled(in_path, spellings.full_spelling(kind, name, given))


def _values(field: Field | None, value: Any, where: str) -> list[Any]:
    """The values of one field: a list of numbers is one value of a field that is such a list."""
    return [value] if field and isinstance(value, list) and field.is_one(value) else as_list(value, where)


def _check_attack(spelling: str, ratio: float, dataset: str, config: Config) -> str:
    """The ratio as it stands in a path; UserError where the attack cannot have it on this dataset."""
    name = spellings.method_name(spelling)
    if name == "none":
        return "0"
    if not ratio:
        raise UserError(f"grid: ratio is 0 for {name}; it must be above 0 and at most 1")
    if counts := _find_class_counts(dataset, config):
        _check_counts(spelling, ratio, dataset, counts, config)
    return format_ratio(ratio)


def _check_counts(spelling: str, ratio: float, dataset: str, counts: Sequence[int], config: Config) -> None:
    """UserError where there is no such class, or where the ratio asks for no image or for more than there are."""
    name, payload = spellings.method_name(spelling), round(ratio * sum(counts))
    fields = spellings.resolve("attacks", spelling, config.settings_of(dataset))
    target = fields.get("target", 0)
    if target >= len(counts):
        raise UserError(f"grid: {name}'s target is {target}; {dataset} has the classes 0 to {len(counts) - 1}")
    if not payload:
        raise UserError(f"grid: ratio {ratio:g} asks for none of the {sum(counts)} images of {dataset}")
    if catalog.describe("attacks", name).traits.get("clean_label") and payload > counts[target]:
        raise UserError(
            f"grid: {name} is clean-label and ratio {ratio:g} asks for {payload} images of class {target}, which has "
            f"{counts[target]} in {dataset}: the ratio may be at most {format_bound(counts[target] / sum(counts))}"
        )
    each, share = fields.get("cover_ratio", 0), fields.get("cover_share", 0)
    if payload + (cover := round(each * payload + share * sum(counts))) > sum(counts):
        raise UserError(
            f"grid: {name} at ratio {ratio:g} asks for {payload} images and {cover} covers of the {sum(counts)} of "
            f"{dataset}: the ratio may be at most {format_bound((1 - share) / (1 + each))}"
        )


def _check_holdout(defense: str, dataset: str, config: Config) -> None:
    """UserError where a defense would be given no image, or more than there are for defenders."""
    size = spellings.resolve("defenses", defense, config.settings_of(dataset)).get("holdout_size")
    total, loader = sum(_find_class_counts(dataset, config)), config.loader(dataset)[1]
    if size is None or not total:
        return
    there, who = round(loader["holdout"] * total), f"grid: {spellings.method_name(defense)}'s"
    check_holdout(size, count_holdout(size, total), there, who, dataset)


def _check_pair(model: str, defense: str, settings: Mapping[str, Any]) -> None:
    """UserError where a defense looks for something in the network that the architecture does not have."""
    lacking = catalog.describe("models", spellings.method_name(model)).traits["lacks"]
    for needed in spellings.find_needs(defense, settings):
        if needed in lacking:
            raise UserError(f"grid: {defense} needs {needed}, and {model} has none; choose another of the two")


def _check_named(kind: str, spelling: str, attack: str, dataset: str, config: Config) -> None:
    """UserError where what a method's fields name cannot be had, or would tell it what it may not know."""
    described, settings = catalog.describe(kind, spellings.method_name(spelling)), config.settings_of(dataset)
    networks = [key for key, field in described.fields.items() if field.names == "models"]
    chosen = spellings.resolve(kind, spelling, settings) if described.named or networks else {}
    for network in [described.name] if kind == "models" else [chosen[key] for key in networks]:
        _check_classifier(network, "the network of a cell")
    for key, of_kind in described.named.items():
        if of_kind == "auxiliaries":
            _check_auxiliary(chosen[key], kind, spelling, attack)
            if kind == "models":
                backbone = spellings.resolve("auxiliaries", chosen[key], settings)["backbone"]
                _check_classifier(backbone, f"what {spelling} stands on")
        if of_kind == "datasets":
            _check_dataset(key, chosen[key], kind, spelling, dataset, config)


def _check_auxiliary(auxiliary: str, kind: str, spelling: str, attack: str) -> None:
    """UserError where a method stands on a network that cannot be trained on this attack's images."""
    published = "poisoned_train" in catalog.describe("auxiliaries", auxiliary).asks
    if published and (spellings.is_implant(attack) or kind == "attacks"):
        raise UserError(
            f"grid: {attack} publishes its images together with what it makes, so {auxiliary} cannot be trained on "
            f"them before {spelling}; choose one of clean images"
        )


def _check_classifier(model: str, what: str) -> None:
    """UserError where a network has another purpose than to classify, so that it has no features either."""
    if not catalog.describe("models", model).traits["classifies"]:
        raise UserError(f"grid: {what} must be a classifier, and {model} is none; choose another")


def _check_dataset(key: str, other: str, kind: str, spelling: str, dataset: str, config: Config) -> None:
    """UserError where there are no such further images, or where a defender's are the cell's own: their true labels
    would say which are poisoned."""
    if other not in config.datasets:
        there = join_names(config.datasets)
        raise UserError(f"grid: {key} of {spelling} is {show(other)}, no dataset of the configuration: {there}")
    if other == dataset and kind != "attacks":
        raise UserError(
            f"grid: {key} of {spelling} is {dataset}, whose labels on {dataset} itself would say which images are "
            "poisoned; name another dataset"
        )


def _find_class_counts(dataset: str, config: Config) -> Sequence[int]:
    """Training images of each class, where the loader says so; otherwise the poisoning step checks them."""
    loader, fields = config.loader(dataset)
    return () if fields["reserve"] else catalog.describe("datasets", loader).traits.get("train_counts", ())
