"""Study files into cells. Everything that can be known to be wrong before the run is said here."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.common import catalog
from workflow_scripts.common.cells import METRICS, Asked, Cell, Study, Table, clean_cell, is_in_training
from workflow_scripts.common.config import Config, as_list, check_keys, check_mapping
from workflow_scripts.common.errors import UserError, join_names
from workflow_scripts.common.grid import expand_grid, expand_spellings

FOLDER = Path("studies")
AXES = tuple(axis for axis in Cell._fields if axis != "seed")
KINDS = ("cells", "paired")
"""The kinds of tables."""


def read(config: Config) -> list[Study]:
    """The studies that the configuration asks for. UserError names the file and what is wrong in it."""
    found = []
    for pattern in config.studies:
        paths = sorted(FOLDER.glob(f"{pattern}.yaml"))
        if not paths:
            known = sorted(str(p.relative_to(FOLDER).with_suffix("")) for p in FOLDER.rglob("*.yaml"))
            raise UserError(f"no study {pattern!r} in {FOLDER}/; there are: {join_names(known)}")
        found += paths
    read_studies = [_read_study(path, config) for path in dict.fromkeys(found)]
    stems: dict[str, str] = {}
    for study in read_studies:
        for table in study.tables:
            if (other := stems.setdefault(table.stem(study.name), study.name)) != study.name:
                raise UserError(f"tables of {other} and {study.name} would be one file; rename one of the studies")
    return read_studies


def add_implied_cells(cells: Iterable[Cell]) -> list[Cell]:
    """The cells and those that their numbers refer to: the undefended victim, the clean model on the clean and on the
    triggered images, and ordinary training where a defense trains in its stead."""
    found: dict[Cell, None] = {}
    for cell in cells:
        implied = [cell._replace(defense="none"), cell._replace(defense="clean"), clean_cell(cell)]
        if is_in_training(catalog.describe("defenses", catalog.method_name(cell.defense)).asks):
            implied.append(cell._replace(defense="plain"))
        found |= dict.fromkeys([cell, *implied])
    return sorted(found)


def _read_study(path: Path, config: Config) -> Study:
    try:
        try:
            raw = check_mapping(yaml.safe_load(path.read_text(encoding="utf-8")), "the file")
        except yaml.YAMLError as error:
            raise UserError(f"not YAML: {' '.join(str(error).split())}") from None
        check_keys(raw, ("title", "grid", "table", "figure", "analysis"), "the file")
        if "grid" not in raw:
            raise UserError("grid is missing")
        if not raw.keys() & {"table", "analysis", "figure"}:
            raise UserError("neither table, figure nor analysis: nothing would be shown")
        grids = (expand_grid(grid, config) for grid in as_list(raw["grid"]))
        asked = tuple(dict.fromkeys(itertools.chain.from_iterable(grids)))
        tables = _read_tables(as_list(raw["table"]), asked, config) if "table" in raw else ()
        shown = raw.get("figure", ["heatmap", "tradeoff", "triggers"] if tables else [])
        figures, analyses = _read_spellings("figures", shown, "kind"), raw.get("analysis", [])
        name, title = _name_study(path, raw, config)
        return Study(name, title, asked, tables, figures, _read_spellings("analyses", analyses, "name"))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _name_study(path: Path, raw: dict[str, Any], config: Config) -> tuple[str, str]:
    """The study's name, which its results bear, and its title; both say where it runs elsewhere than it stands."""
    name = str(path.relative_to(FOLDER).with_suffix(""))
    title = str(raw.get("title", name))
    first = Path(name).parts[0]
    if len(Path(name).parts) > 1 and first in config.datasets:
        raise UserError(f"{first} is a dataset: the results of studies run on it lie there; rename the folder")
    return (f"{config.dataset}/{name}", f"{title}, run on {config.dataset}") if config.dataset else (name, title)


def _read_tables(raw: list[Any], asked: Sequence[Asked], config: Config) -> tuple[Table, ...]:
    tables = tuple(_read_table(table, asked, config) for table in raw)
    for kind, count in Counter(table.kind for table in tables).items():
        if count > 1:
            raise UserError(f"table: there are {count} of kind {kind}; a study has one of each at most")
    return tables


def _read_table(raw: Any, asked: Sequence[Asked], config: Config) -> Table:
    given = check_mapping(raw, "table")
    check_keys(given, ("kind", "rows", "columns", "values", "against"), "table")
    kind = given.pop("kind", "cells")
    if kind not in KINDS:
        raise UserError(f"table: no kind {kind!r}; there are: {join_names(KINDS)}")
    if (kind == "paired") != ("against" in given):
        raise UserError("table: one of kind paired, and no other, says `against` which column the others are held")
    against = given.pop("against", [])
    table = Table(kind=kind, **{key: tuple(as_list(value)) for key, value in given.items()})
    if not (table.rows and table.columns and table.values):
        raise UserError("table: rows, columns and values must each name something")
    for axis in (*table.rows, *table.columns):
        if axis not in AXES:
            raise UserError(f"table: no axis {axis!r}; there are: {join_names(AXES)}")
    for metric in table.values:
        if metric not in METRICS:
            raise UserError(f"table: no metric {metric!r}; there are: {join_names(METRICS)}")
    names = [name for _, name in asked]
    _check_places(table, names)
    return replace(table, against=_read_against(as_list(against), table, names, config))


def _read_against(raw: list[Any], table: Table, names: Sequence[Cell], config: Config) -> tuple[str, ...]:
    """The columns that the others are held against, by the names that the study gave them."""
    if not raw:
        return ()
    axis = table.columns[-1]
    replaced = config.settings_of(config.dataset).get("replace_models", {}) if config.dataset else {}
    kind = catalog.KIND_OF_AXIS.get(axis) if axis != "dataset" else None
    found = [str(entry) for entry in raw]
    if kind:
        found = [spelled.name for entry in raw for spelled in expand_spellings(kind, entry, {}, replaced)]
    there = dict.fromkeys(getattr(name, axis) for name in names)
    for column in found:
        if column not in there:
            raise UserError(f"table: against {column!r}, which is none of the columns; there are: {join_names(there)}")
    return tuple(found)


def _check_places(table: Table, names: Sequence[Cell]) -> None:
    """UserError where two cells that differ in more than the seed would be one number."""
    shown = (*table.rows, *table.columns)
    places: dict[tuple[str, ...], Cell] = {}
    for name in names:
        first = places.setdefault(tuple(getattr(name, axis) for axis in shown), name)
        for axis in AXES:
            if getattr(name, axis) != getattr(first, axis):
                raise UserError(
                    f"table: {getattr(first, axis)} and {getattr(name, axis)} would share a place; "
                    f"add {axis!r} to rows or columns"
                )


def _read_spellings(kind: str, raw: Any, key: str) -> tuple[str, ...]:
    """Spellings of the figures or analyses that a study names: a name, `{key: name, field: value}`, or a list."""
    found = []
    for entry in as_list(raw):
        given = {key: entry} if isinstance(entry, str) else check_mapping(entry, kind)
        if not isinstance(given.get(key), str):
            raise UserError(f"{kind}: {key} is missing or no name; there are: {join_names(catalog.list_methods(kind))}")
        fields = {k: v for k, v in given.items() if k != key}
        found.append(catalog.canonical_spelling(kind, given[key], fields, {}))
    return tuple(found)
