"""Rows of cells into places of a table: estimates over seeds, and averages over attacks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from workflow_scripts.common import spellings
from workflow_scripts.common.cells import METRICS, Table, cell_of
from workflow_scripts.evaluation.averages import VOID, Average, Place, average_cells, common_places
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
    models where columns are models and something else. Where no axis is the defense, the protocol is named by rows."""

    block: tuple[str, ...]
    row: tuple[str, ...]
    column: tuple[str, ...]

    @classmethod
    def of(cls, table: Table) -> "Axes":
        row, column = (tuple(axis for axis in axes if axis != "dataset") for axes in (table.rows, table.columns))
        block = tuple(axis for axis in (*table.rows, *table.columns) if axis == "dataset")
        if "model" in column and len(column) > 1:
            block, column = (*block, "model"), tuple(axis for axis in column if axis != "model")
        axes = cls(block, row, column) if row and column else cls((), table.rows, table.columns)
        return axes if "defense" in (*table.rows, *table.columns) else replace(axes, row=(*axes.row, "protocol"))

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
            average = average_cells(own, metric, averaged.places)
            place = averaged.block, averaged.row, column, metric
            count, mean = len(averaged.places), estimate_average(average)
            found.append(TableCell(*place, mean, averaged.group, cells=count, counted=average.counted))
    return found


def estimate_average(average: Average) -> Estimate:
    """Over seeds; without a range where they have not the same attacks, of which it would be one."""
    if average.alike:
        return estimate(average.seeds)
    return Estimate(average.mean, None, None, None, None, len(average.seeds))


def pair_rows(table: Table, rows: Sequence[Row]) -> list[Row]:
    """The rows with, in place of their metrics, the differences to the row of the same victim and seed that the table
    holds them against, asked by the same protocol or by the default one; what is held against none is left out. What
    makes either of the two void makes their difference void."""
    axis = table.columns[-1]
    bases = {(cell_of(row), row["protocol"]): row for row in rows}
    found = []
    for row in rows:
        cell = cell_of(row)
        own = getattr(cell, axis)
        if (against := _against(table, own)) in (own, None):
            continue
        at = cell._replace(**{axis: against})
        if base := bases.get((at, row["protocol"])) or bases.get((at, "default")):
            differences = {metric: _difference(row[metric], base[metric]) for metric in METRICS}
            found.append({**row, **differences, "checks": sorted({*row["checks"], *VOID & {*base["checks"]}})})
    return found


def _against(table: Table, name: str) -> str | None:
    own = [other for other in table.against if spellings.method_name(other) == spellings.method_name(name)]
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
    return " ".join([spellings.method_name(spelling), *(p.replace("~", "=") for p in spelling.split("+")[1:])])
