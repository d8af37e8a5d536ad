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
    """The cell that a row of metrics or an artifact's metadata speaks of, where ratio and seed may be numbers."""
    return Cell(**{axis: str(row[axis]) for axis in Cell._fields})._replace(ratio=format_ratio(float(row["ratio"])))


def format_ratio(ratio: float) -> str:
    """A ratio as it stands in paths."""
    return repr(float(ratio)) if ratio else "0"


class Asked(NamedTuple):
    """A cell that a study asks for, and its name there: of each method all that the study says, even where the
    dataset's settings say the same, so that a column is one method on every dataset."""

    cell: Cell
    name: Cell


@dataclass(frozen=True)
class Table:
    """Which axes of the grid are a table's rows and columns, and which metrics stand in it.

    kind: `cells`, the metrics; `paired`, their differences over seeds to those of other columns; `reported`, beside
    what was published, a line for each defense of each victim; `costs`, what each defense spends; or `stability`, DER
    over the settings of each method. against: the other columns, as values of the last axis of the columns. A column is
    compared with the one of its own method; where there is one only, with that.
    """

    rows: tuple[str, ...] = ("attack",)
    columns: tuple[str, ...] = ("defense",)
    values: tuple[str, ...] = ("acc", "asr")
    kind: str = "cells"
    against: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Table":
        """Of plain values, lists in place of tuples."""
        axes = {key: tuple(given[key]) for key in ("rows", "columns", "values", "against")}
        return cls(**axes, kind=given["kind"])

    def stem(self, study: str) -> str:
        """What the files of this table of a study are called."""
        return study if self.kind == "cells" else f"{study}_{self.kind}"


@dataclass(frozen=True)
class Study:
    """What a study asks for, and the tables, figures and analyses that it becomes; `figures` and `analyses` are
    spellings."""

    name: str
    title: str
    asked: tuple[Asked, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[str, ...] = ()
    analyses: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Each cell once, in the order of the study."""
        return tuple(dict.fromkeys(asked.cell for asked in self.asked))

    def as_json(self) -> dict[str, Any]:
        """Plain values, as a rule hands them to its script."""
        shown = {"tables": [asdict(table) for table in self.tables], "figures": self.figures, "analyses": self.analyses}
        return {"name": self.name, "title": self.title, "asked": [[*cell, *name] for cell, name in self.asked], **shown}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Study":
        """The inverse of `as_json`."""
        width = len(Cell._fields)
        asked = tuple(Asked(Cell(*parts[:width]), Cell(*parts[width:])) for parts in given["asked"])
        tables = tuple(Table.from_json(table) for table in given["tables"])
        return cls(given["name"], given["title"], asked, tables, tuple(given["figures"]), tuple(given["analyses"]))
