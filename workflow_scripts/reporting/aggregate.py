"""Rows of cells into places of a table: estimates over seeds, and averages over attacks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from workflow_scripts.common import catalog
from workflow_scripts.common.cells import METRICS, Cell, Table
from workflow_scripts.evaluation.averages import Place, average_by_seed, common_places
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import format_label, group_rows
from workflow_scripts.reporting.estimates import Estimate, estimate

AVERAGE = "average"
LONG = pa.schema(
    [
        *((key, pa.string()) for key in ("block", "row", "column", "metric")),
        *((key, pa.float64()) for key in ("mean", "low", "high", "minimum", "maximum")),
        ("n", pa.int64()),
    ]
)


@dataclass(frozen=True)
class TableCell:
    """One metric of one row and column of a block, as a fraction over seeds.

    group: the rows that an average counts together, and it.
    failed: how many of the cells fail each check; cells: how many there are. Of an average over attacks: how many it
    counts, and how many of them the column has, `counted`.
    """

    block: str
    row: str
    column: str
    metric: str
    estimate: Estimate
    group: str = ""
    failed: Counter[str] = field(default_factory=Counter)
    cells: int = 0
    counted: int | None = None


@dataclass(frozen=True)
class Axes:
    """Which axes of a table name its blocks, its rows and its columns: two datasets are two blocks, and so are two
    models where columns are models and something else."""

    block: tuple[str, ...]
    row: tuple[str, ...]
    column: tuple[str, ...]

    @classmethod
    def of(cls, table: Table) -> "Axes":
        row, column = (tuple(axis for axis in axes if axis != "dataset") for axes in (table.rows, table.columns))
        block = tuple(axis for axis in (*table.rows, *table.columns) if axis == "dataset")
        if "model" in column and len(column) > 1:
            block, column = (*block, "model"), tuple(axis for axis in column if axis != "model")
        return cls(block, row, column) if row and column else cls((), table.rows, table.columns)

    def place(self, row: Row) -> tuple[str, str, str, str]:
        """The block, the group, the row and the column of a row of metrics."""
        block, group = format_label(row, self.block), format_label(row, self.averaged)
        return block, group, format_label(row, self.row), format_label(row, self.column)

    @property
    def averaged(self) -> tuple[str, ...]:
        """What an average over attacks keeps apart in a block."""
        return tuple(axis for axis in self.row if axis != "attack")


@dataclass(frozen=True)
class Averaged:
    """An average over attacks: its block, its group, and the attacks and seeds that it counts."""

    block: str
    group: str
    places: tuple[Place, ...]

    @property
    def row(self) -> str:
        """What its row is called."""
        return f"{AVERAGE} {self.group}".strip()


def table_cells(table: Table, rows: Sequence[Row]) -> tuple[list[TableCell], list[Averaged]]:
    """Every place of a table; where several attacks are rows, with averages over those other than none. They count the
    same cells in every column of their block, and keep ratios and whatever else a row has apart."""
    axes = Axes.of(table)
    found: list[TableCell] = []
    for (block, group, at, column), members in group_rows(rows, axes.place).items():
        failed = Counter(check for row in members for check in row["checks"])
        for metric in table.values:
            values = [row[metric] for row in members if row[metric] is not None]
            found.append(TableCell(block, at, column, metric, estimate(values), group, failed, len(members)))
    averaged: list[Averaged] = []
    if "attack" in axes.row:
        attacked = [row for row in rows if row["attack"] != "none"]
        groups = group_rows(attacked, lambda r: (format_label(r, axes.block), format_label(r, axes.averaged)))
        for (block, group), members in groups.items():
            if len({row["attack"] for row in members}) == 1:
                continue  # an average over one attack would be its row again
            averaged.append(Averaged(block, group, tuple(common_places(members))))
            found += _average(averaged[-1], table, members, axes)
    return found, averaged


def _average(averaged: Averaged, table: Table, members: Sequence[Row], axes: Axes) -> list[TableCell]:
    found = []
    for column, own in group_rows(members, lambda row: format_label(row, axes.column)).items():
        for metric in table.values:
            seeds, counted = average_by_seed(own, metric, averaged.places)
            place = averaged.block, averaged.row, column, metric
            found.append(
                TableCell(
                    *place, estimate(list(seeds.values())), averaged.group, cells=len(averaged.places), counted=counted
                )
            )
    return found


def pair_rows(table: Table, rows: Sequence[Row]) -> list[Row]:
    """The rows with, in place of their metrics, the differences to the row of the same victim and seed that the table
    holds them against, asked by the same protocol or by the default one; what is held against none is left out."""
    axis = table.columns[-1]
    victim = [name for name in Cell._fields if name != axis]
    bases = {(row[axis], row["protocol"], *(row[name] for name in victim)): row for row in rows}
    found = []
    for row in rows:
        against, at = _against(table, row[axis]), [row[name] for name in victim]
        base = bases.get((against, row["protocol"], *at)) or bases.get((against, "default", *at))
        if against != row[axis] and base is not None:
            found.append({**row, **{metric: _difference(row[metric], base[metric]) for metric in METRICS}})
    return found


def _against(table: Table, name: str) -> str | None:
    own = [other for other in table.against if catalog.method_name(other) == catalog.method_name(name)]
    return own[0] if own else table.against[0] if len(table.against) == 1 else None


def _difference(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def order_columns(table: Table, rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """The table's columns: those of attacks and defenses, and apart from them those of the controls."""
    axes = Axes.of(table)
    own: dict[str, bool] = {format_label(row, axes.column): row["control"] for row in rows}
    split = "defense" in axes.column
    return [c for c, control in own.items() if not (split and control)], [c for c, k in own.items() if split and k]


def to_long_table(found: Iterable[TableCell]) -> pa.Table:
    """The places as a long table: fractions; low and high are Student's t interval, as it is."""
    rows = [{**place.estimate._asdict(), **{k: getattr(place, k) for k in LONG.names[:4]}} for place in found]
    return pa.Table.from_pylist(rows, LONG)


def format_spelling(spelling: str) -> str:
    """A spelling as a reader wants it: `ft lr=0.1` for `ft+lr~0.1`."""
    return " ".join([catalog.method_name(spelling), *(p.replace("~", "=") for p in spelling.split("+")[1:])])
