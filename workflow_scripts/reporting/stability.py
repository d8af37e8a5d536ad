"""The table `stability`: DER over the settings of each method (the question of arXiv 2511.13143)."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from workflow_scripts.common import arrow
from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.rows import count_missing, group_rows, name_rows
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.layout import Part
from workflow_scripts.reporting.notes import describe_absent
from workflow_scripts.reporting.spread import WORST, Spread, find_spreads
from workflow_scripts.reporting.tables import to_percent, write_texts

NUMBERS = ("own", "median", "worst", "best")
LONG = pa.schema(
    [
        *((key, pa.string()) for key in ("victim", "method", "attack")),
        ("settings", pa.int64()),
        *((key, pa.float64()) for key in NUMBERS),
        *((f"{key}_setting", pa.string()) for key in ("worst", "best")),
    ]
)
"""The table for machines: DERs as fractions; `own` is empty where the dataset's own setting is not asked for."""


def write(study: Study, metrics: str, output: Any) -> None:
    """Write `output.parquet`, `.csv`, `.md` and `.tex` from the study's metrics."""
    (table,) = (table for table in study.tables if table.kind == "stability")
    rows = arrow.read_table(metrics, SCHEMA)[0].to_pylist()
    spreads = find_spreads(name_rows(study, rows))
    long = to_long_table(spreads)
    arrow.write_table(output.parquet, long, {"study": study.name})
    notes = [
        "DER in percent, of each setting the mean over seeds (and attacks, in averages). `own`: as the dataset has the "
        f"method set; `worst tenth`: what {100 * WORST:g} % of the settings do not exceed. A difference between "
        "methods is also one between the grids that were asked for.",
        *describe_absent(study, count_missing(study, rows)),
    ]
    parts = [_lay_out(name, own) for name, own in group_rows(spreads, lambda spread: spread.victim).items()]
    wide = to_percent(long.to_pandas(), NUMBERS)
    write_texts(output, f"{study.title}: over settings", table.stem(study.name), wide, parts, notes)


def to_long_table(spreads: Iterable[Spread]) -> pa.Table:
    """A row for each method and attack of each victim."""
    rows = []
    for spread in spreads:
        order = sorted(spread.values, key=lambda name: spread.values[name])
        about = {"victim": spread.victim, "method": spread.method, "attack": spread.attack, "settings": len(order)}
        numbers = (spread.own, spread.median, spread.worst, spread.values[order[-1]])
        ends = {"worst_setting": order[0], "best_setting": order[-1]}
        rows.append({**about, **dict(zip(NUMBERS, numbers, strict=True)), **ends})
    return pa.Table.from_pylist(rows, LONG)


def _lay_out(name: str, spreads: Sequence[Spread]) -> Part:
    """A line for each method and attack."""
    places = [(spread.method, format_spelling(spread.attack)) for spread in spreads]
    lines = [
        [
            str(len(spread.values)),
            "–" if spread.own is None else f"{100 * spread.own:.1f}",
            *(f"{100 * value:.1f}" for value in (spread.median, spread.worst, max(spread.values.values()))),
            format_spelling(min(spread.values, key=lambda setting: spread.values[setting])),
        ]
        for spread in spreads
    ]
    index = pd.MultiIndex.from_tuples(places, names=["defense", "attack"])
    columns = pd.Index(["settings", "own", "median", "worst tenth", "best", "the worst is"])
    return Part((format_spelling(name),) if name else (), pd.DataFrame(lines, index=index, columns=columns), 0, False)
