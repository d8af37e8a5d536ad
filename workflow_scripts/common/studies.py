"""Study files into cells. Everything that can be known to be wrong before the run is said here."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.cells import METRICS, Asked, Cell, Study, Table, clean_cell, is_in_training
from workflow_scripts.common.config import Config, as_list, check_keys, check_mapping, refuse_twice
from workflow_scripts.common.documents import read_yaml
from workflow_scripts.common.errors import UserError, join_names, show, suggest
from workflow_scripts.common.grid import MOST, expand_grid, expand_spellings

FOLDER = Path("studies")
AXES = tuple(axis for axis in Cell._fields if axis != "seed")
NAME = r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*"
PATTERN = r"[A-Za-z0-9_*?\[\]!-]+(/[A-Za-z0-9_*?\[\]!-]+)*"
KINDS = ("cells", "paired", "reported", "costs", "stability")
"""The kinds of tables."""
FIXED = {"reported": ("rows", "columns"), **dict.fromkeys(("costs", "stability"), ("rows", "columns", "values"))}
"""What a study does not choose of those that have a line for each defense."""


class Asking(NamedTuple):
    """The studies that the configuration asks for, by name; those of them that it asks for by their own names; and of
    those that a pattern matched but that cannot be run, what is wrong, by the file."""

    studies: dict[str, Study]
    by_name: frozenset[str]
    left_out: dict[str, str]


def read(config: Config) -> Asking:
    """The studies that the configuration asks for. UserError names the file and what is wrong in it, where a study was
    asked for by its name, or where none is left."""
    by_name = dict[Path, bool]()
    for pattern in config.studies:
        for path in _find_files(pattern):
            by_name[path] = by_name.get(path, False) or not set(pattern) & set("*?[")
    found, left_out = dict[Path, Study](), dict[str, str]()
    for path, named in by_name.items():
        try:
            found[path] = _read_study(path, config)
        except UserError as error:
            if named:
                raise
            left_out[str(path)] = str(error)
    if not found:
        raise UserError("; ".join(list(left_out.values())[:3]))
    _check_stems(found.values())
    named_studies = frozenset(study.name for path, study in found.items() if by_name[path])
    return Asking({study.name: study for study in found.values()}, named_studies, left_out)


def _find_files(pattern: str) -> list[Path]:
    """The files of the studies of this name or pattern; UserError if there are none."""
    if not re.fullmatch(PATTERN, pattern):
        raise UserError(
            f"no study {show(pattern)} in {FOLDER}/: one is called by its path there without .yaml, of letters, "
            "digits, _ and -, where * and ? make it a pattern"
        )
    found: list[Path] = []
    with suppress(ValueError, OSError):  # a name of too many characters, ** in one
        found = sorted(FOLDER.glob(f"{pattern}.yaml"))
    if not found:
        known = sorted(str(p.relative_to(FOLDER).with_suffix("")) for p in FOLDER.rglob("*.yaml"))
        raise UserError(f"no study {show(pattern)} in {FOLDER}/; {suggest(pattern, known)}")
    return found


def _check_stems(found: Iterable[Study]) -> None:
    """UserError where tables of two studies would be one file."""
    stems: dict[str, str] = {}
    for study in found:
        for table in study.tables:
            if (other := stems.setdefault(table.stem(study.name), study.name)) != study.name:
                raise UserError(f"tables of {other} and {study.name} would be one file; rename one of the studies")


def add_implied_cells(cells: Iterable[Cell]) -> list[Cell]:
    """The cells and those that their numbers refer to: the undefended victim, the clean model on the clean and on the
    triggered images, and ordinary training where a defense trains in its stead."""
    found: dict[Cell, None] = {}
    for cell in cells:
        implied = [cell._replace(defense="none"), cell._replace(defense="clean"), clean_cell(cell)]
        if is_in_training(catalog.describe("defenses", spellings.method_name(cell.defense)).asks):
            implied.append(cell._replace(defense="plain"))
        found |= dict.fromkeys([cell, *implied])
    return sorted(found)


def _read_study(path: Path, config: Config) -> Study:
    if (found := read_yaml(path)) is None:
        raise UserError(f"{path}: the file is empty; a study has a grid, and a table, a figure or an analysis")
    raw = check_mapping(found, f"{path}")
    try:
        check_keys(raw, ("title", "grid", "table", "figure", "analysis"), "the file")
        if "grid" not in raw:
            raise UserError("grid is missing")
        name, title = _name_study(path, raw, config)
        asked = _read_grids(as_list(raw["grid"], "grid"), config)
        tables = _read_tables(as_list(raw["table"], "table"), asked, config) if "table" in raw else ()
        shown = raw.get("figure", ["heatmap", "tradeoff", "triggers"] if tables else [])
        figures = _read_spellings("figures", shown, "kind") if shown != [] else ()
        analyses = _read_spellings("analyses", raw["analysis"], "name") if "analysis" in raw else ()
        if not (tables or figures or analyses):
            raise UserError("neither table, figure nor analysis: nothing would be shown")
        return Study(name, title, asked, tables, figures, analyses)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_grids(grids: Sequence[Any], config: Config) -> tuple[Asked, ...]:
    cells = itertools.chain.from_iterable(expand_grid(grid, config) for grid in grids)
    asked = tuple(dict.fromkeys(itertools.islice(cells, MOST + 1)))
    if len(asked) > MOST:
        raise UserError(f"grid: more than {MOST} cells; make several studies of it")
    return asked


def _name_study(path: Path, raw: dict[str, Any], config: Config) -> tuple[str, str]:
    """The study's name, which its results bear, and its title; both say where it runs elsewhere than it stands."""
    name = str(path.relative_to(FOLDER).with_suffix(""))
    if not re.fullmatch(NAME, name) or len(name) > spellings.LONGEST:
        raise UserError("its results bear a study's name, which may be of letters, digits, _ and -; rename the file")
    title = raw.get("title", name)
    if not isinstance(title, str) or not title.strip() or not title.isprintable():
        raise UserError(f"title is {show(title)}; it must be a line of text")
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
        raise UserError(f"table: no kind {show(kind)}; there are: {join_names(KINDS)}")
    if (kind == "paired") != ("against" in given):
        raise UserError("table: one of kind paired, and no other, says `against` which column the others are held")
    against = given.pop("against", [])
    if chosen := [key for key in FIXED.get(kind, ()) if key in given]:
        raise UserError(f"table: {chosen[0]} of one of kind {kind} cannot be chosen; leave it out")
    table = Table(kind=kind, **{key: tuple(as_list(value, f"table: {key}")) for key, value in given.items()})
    for axis in as_list([*table.rows, *table.columns], "table: rows and columns"):
        if axis not in AXES:
            raise UserError(f"table: no axis {show(axis)}; there are: {join_names(AXES)}")
    for metric in table.values:
        if metric not in METRICS:
            raise UserError(f"table: no metric {show(metric)}; there are: {join_names(METRICS)}")
    names = [name for _, name in asked]
    if kind not in FIXED:
        _check_places(table, names)
    if kind == "paired":
        against = as_list(against, "table: against")
    return replace(table, against=_read_against(against, table, names, config))


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
    for entry in as_list(raw, kind):
        given = {key: entry} if isinstance(entry, str) else check_mapping(entry, kind)
        if not isinstance(given.get(key), str):
            raise UserError(f"{kind}: {key} is missing or no name; there are: {join_names(catalog.list_methods(kind))}")
        fields = {k: v for k, v in given.items() if k != key}
        found.append(spellings.full_spelling(kind, given[key], fields))  # a dataset may have other defaults
    refuse_twice(found, kind)
    return tuple(found)
