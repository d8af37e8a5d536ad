"""Rows of cells into places of a table: means over seeds with Student's t interval, and averages that say "k of n"."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import stdtrit

from workflow_scripts.common import catalog
from workflow_scripts.common.cells import Cell, Study, cell_of, defense_label
from workflow_scripts.evaluation.checks import Row, rows_to_average, seed_means

AVERAGE = "average"


@dataclass(frozen=True)
class TableCell:
    """One metric of one row and column: mean and interval over `n` seeds, None where there is none; fractions.

    failed: how many of the cells fail each check. counted, cells: of an average, how many of its cells it counts.
    """

    row: str
    column: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    failed: Counter[str] = field(default_factory=Counter)
    counted: int = 0
    cells: int = 0


def mean_and_interval(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Mean and Student's t 95 % interval; no interval of fewer than two values. (A bootstrap of three covers 67 %.)"""
    if not values:
        return None, None, None
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    half = float(stdtrit(len(values) - 1, 0.975)) * deviation / len(values) ** 0.5
    return mean, mean - half, mean + half


def read_study_rows(study: Study, metrics: str) -> list[Row]:
    """The study's rows of `metrics.parquet`, its own cells only, in the order of the study."""
    found: dict[Cell, list[Row]] = {}
    for row in pq.read_table(metrics).to_pylist():
        found.setdefault(cell_of(row), []).append(row)
    return [row for cell in study.cells for row in found.get(cell, [])]


def count_missing(study: Study, rows: Iterable[Row]) -> int:
    """How many of the study's cells have no row yet."""
    return len(study.cells) - len({cell_of(row) for row in rows})


def format_label(row: Row, axes: Sequence[str]) -> str:
    """What a row is called along these axes."""
    named = {"ratio": f"{row['ratio']:g}", "defense": defense_label(row)}
    return " ".join(str(named.get(axis, row[axis])) for axis in axes)


def axes_that_differ(rows: Sequence[Row], *axes: str) -> list[str]:
    """Those of the axes along which the rows differ, and the last one anyhow: what tells them apart in a figure."""
    return [axis for axis in axes if axis == axes[-1] or len({row[axis] for row in rows}) > 1]


def table_cells(study: Study, rows: Sequence[Row]) -> list[TableCell]:
    """Every place of the study's table; where attacks are rows, with an average over those other than none."""
    table = study.table
    assert table is not None
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((format_label(row, table.rows), format_label(row, table.columns)), []).append(row)
    found = []
    for (at, column), members in groups.items():
        failed = Counter(check for row in members for check in row["checks"])
        for metric in table.values:
            values = [row[metric] for row in members if row[metric] is not None]
            found.append(
                TableCell(at, column, metric, *mean_and_interval(values), len(values), failed, cells=len(members))
            )
    if "attack" in table.rows:
        columns: dict[str, list[Row]] = {}
        for (_, column), members in groups.items():
            columns.setdefault(column, []).extend(row for row in members if row["attack"] != "none")
        for column, members in columns.items():
            found += [_average(column, metric, members) for metric in table.values] if members else []
    return found


def _average(column: str, metric: str, members: Sequence[Row]) -> TableCell:
    """The mean over seeds of each seed's mean over the cells that count."""
    means, counted = seed_means(members, metric), len(rows_to_average(members))
    return TableCell(
        AVERAGE, column, metric, *mean_and_interval(means), len(means), counted=counted, cells=len(members)
    )


def order_columns(study: Study, rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """The table's columns: those of attacks and defenses, and apart from them those of the controls."""
    assert study.table is not None
    own: dict[str, bool] = {format_label(row, study.table.columns): row["control"] for row in rows}
    split = "defense" in study.table.columns
    return [c for c, control in own.items() if not (split and control)], [c for c, k in own.items() if split and k]


def to_long_table(found: Iterable[TableCell]) -> pa.Table:
    """The places as a long table (row, column, metric, mean, low, high, n)."""
    keys = ("row", "column", "metric", "mean", "low", "high", "n")
    types = [pa.string()] * 3 + [pa.float64()] * 3 + [pa.int64()]
    schema = pa.schema(list(zip(keys, types, strict=True)))
    return pa.Table.from_pylist([{key: getattr(place, key) for key in keys} for place in found], schema)


def format_spelling(spelling: str) -> str:
    """A spelling as a reader wants it: `ft lr=0.1` for `ft+lr~0.1`."""
    return " ".join([catalog.method_name(spelling), *(p.replace("~", "=") for p in spelling.split("+")[1:])])
