"""The words of a grid: cells, and the study that they belong to."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

METRICS = ("acc", "asr", "ra", "der")


class Cell(NamedTuple):
    """One number of a table: spellings as they stand in paths."""

    dataset: str
    model: str
    attack: str
    ratio: str
    seed: str
    defense: str


def clean_cell(cell: Cell) -> Cell:
    """The clean model that a cell is read against."""
    return cell._replace(attack="none", ratio="0", defense="none")


def is_in_training(asks: Collection[str]) -> bool:
    """Whether a defense of this signature trains the network itself, given the poisoned training set and no victim, or
    is what such training gives without a defense."""
    return ("poisoned_train" in asks and "victim" not in asks) or "retrained" in asks


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The cell of a row of `metrics.parquet`, where ratio and seed are numbers."""
    return Cell(**{axis: str(row[axis]) for axis in Cell._fields})._replace(ratio=format_ratio(row["ratio"]))


def defense_label(row: Mapping[str, Any]) -> str:
    """A row's defense, and its protocol where the model may be asked in several ways: never the one without the
    other."""
    return row["defense"] if row["protocol"] == "default" else f"{row['defense']} [{row['protocol']}]"


def format_ratio(ratio: float) -> str:
    """A ratio as it stands in paths."""
    return repr(float(ratio)) if ratio else "0"


@dataclass(frozen=True)
class Table:
    """Which axes of the grid are a table's rows and columns, and which metrics stand in it."""

    rows: tuple[str, ...] = ("attack",)
    columns: tuple[str, ...] = ("defense",)
    values: tuple[str, ...] = ("acc", "asr")


@dataclass(frozen=True)
class Study:
    """A grid of cells and the tables, figures and analyses that it becomes; `figures` and `analyses` are spellings."""

    name: str
    title: str
    cells: tuple[Cell, ...]
    table: Table | None = None
    figures: tuple[str, ...] = ()
    analyses: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values, as a rule hands them to its script."""
        return {**asdict(self), "cells": [list(cell) for cell in self.cells]}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Study":
        """The inverse of `as_json`."""
        cells = tuple(Cell(*cell) for cell in given["cells"])
        table = Table(**{key: tuple(value) for key, value in given["table"].items()}) if given["table"] else None
        return cls(given["name"], given["title"], cells, table, tuple(given["figures"]), tuple(given["analyses"]))
