"""A study in a few numbers: what git keeps, and what `dvc metrics diff` compares."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from workflow_scripts.common import files
from workflow_scripts.common.cells import METRICS, Study
from workflow_scripts.evaluation.averages import average_cells, common_places
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import axes_apart, format_label, group_rows, name_rows

Means = dict[str, float | None]


def summarize(study: Study, rows: Iterable[Row]) -> dict[str, Means]:
    """`{defense: {acc, asr, ra, der}}` in percent: the averages over attacks of the tables, None where a defense lacks
    a cell. Where a study has several datasets, models or ratios of one attack, they stand before the defense, and each
    has averages of its own."""
    named = [row for row in name_rows(study, rows) if row["attack"] != "none"]
    axes = [axis for axis in axes_apart(named) if axis != "attack"]
    found: dict[str, Means] = {}
    for block in group_rows(named, lambda row: format_label(row, axes)).values():
        places = common_places(block)
        for name, group in group_rows(block, lambda row: format_label(row, [*axes, "defense"])).items():
            found[name] = {metric: _percent(average_cells(group, metric, places).mean) for metric in METRICS}
    return dict(sorted(found.items()))


def write_summary(summary: Mapping[str, Means], path: str, folder: str) -> None:
    """Write it as one file, and into a folder with a file for each defense: DVC shows a file as a row, and each number
    in it as a column."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, means in summary.items():
        row = {metric: mean for metric, mean in means.items() if mean is not None}
        files.write_json(f"{folder}/{re.sub(r'[^A-Za-z0-9+~._-]+', '-', name).strip('-')}.json", row)
    files.write_json(path, summary)


def _percent(mean: float | None) -> float | None:
    return None if mean is None else round(100 * mean, 2)
