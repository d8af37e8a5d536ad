"""Study files into cells. Everything that can be known to be wrong before the run is said here."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.common import catalog
from workflow_scripts.common.cells import METRICS, Cell, Study, Table, clean_cell, is_in_training
from workflow_scripts.common.config import Config, as_list, check_keys, check_mapping
from workflow_scripts.common.errors import UserError, join_names
from workflow_scripts.common.grid import expand_grid

FOLDER = Path("studies")
AXES = tuple(axis for axis in Cell._fields if axis != "seed")


def read(config: Config) -> list[Study]:
    """The studies that the configuration asks for. UserError names the file and what is wrong in it."""
    found = []
    for pattern in config.studies:
        paths = sorted(FOLDER.glob(f"{pattern}.yaml"))
        if not paths:
            known = sorted(str(p.relative_to(FOLDER).with_suffix("")) for p in FOLDER.rglob("*.yaml"))
            raise UserError(f"no study {pattern!r} in {FOLDER}/; there are: {join_names(known)}")
        found += paths
    return [_read_study(path, config) for path in dict.fromkeys(found)]


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
    name = str(path.relative_to(FOLDER).with_suffix(""))
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
        cells = tuple(
            dict.fromkeys(itertools.chain.from_iterable(expand_grid(g, config) for g in as_list(raw["grid"])))
        )
        table = _read_table(raw["table"], cells) if "table" in raw else None
        figures = _read_spellings(
            "figures", raw.get("figure", ["heatmap", "tradeoff", "triggers"] if table else []), "kind"
        )
        return Study(
            name,
            str(raw.get("title", name)),
            cells,
            table,
            figures,
            _read_spellings("analyses", raw.get("analysis", []), "name"),
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_table(raw: Any, cells: tuple[Cell, ...]) -> Table:
    given = check_mapping(raw, "table")
    check_keys(given, ("rows", "columns", "values"), "table")
    table = Table(**{key: tuple(as_list(value)) for key, value in given.items()})
    for axis in (*table.rows, *table.columns):
        if axis not in AXES:
            raise UserError(f"table: no axis {axis!r}; there are: {join_names(AXES)}")
    for metric in table.values:
        if metric not in METRICS:
            raise UserError(f"table: no metric {metric!r}; there are: {join_names(METRICS)}")
    shown = (*table.rows, *table.columns)
    places: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        first = places.setdefault(tuple(getattr(cell, axis) for axis in shown), cell)
        for axis in AXES:
            if getattr(cell, axis) != getattr(first, axis):
                raise UserError(
                    f"table: {getattr(first, axis)} and {getattr(cell, axis)} would share a place; "
                    f"add {axis!r} to rows or columns"
                )
    return table


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
