"""A study's table: long Parquet for machines; wide CSV, Markdown and LaTeX, in percent, for people."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from workflow_scripts.common import arrow, files
from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import MARKS
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.rows import count_missing, name_rows
from workflow_scripts.reporting.aggregate import (
    Axes,
    TableCell,
    order_columns,
    pair_rows,
    table_cells,
    to_long_table,
)
from workflow_scripts.reporting.estimates import format_estimate
from workflow_scripts.reporting.latex import to_latex
from workflow_scripts.reporting.layout import NAMES, Part, flatten, lay_out
from workflow_scripts.reporting.notes import write_notes


def write(study: Study, kind: str, metrics: str, output: Any) -> None:
    """Write `output.parquet`, `.csv`, `.md` and `.tex` from the study's metrics."""
    (table,) = (table for table in study.tables if table.kind == kind)
    all_rows = arrow.read_table(metrics, SCHEMA)[0].to_pylist()
    rows = name_rows(study, all_rows)
    shown = pair_rows(table, rows) if kind == "paired" else rows
    found, averaged = table_cells(table, shown)
    defenses, controls = order_columns(table, shown)
    notes = write_notes(study, table, shown, found, averaged, count_missing(study, all_rows))
    axes = Axes.of(table)
    corner = " and ".join(axes.row), " and ".join(axes.column)
    title, lowest = (f"{study.title}: differences", -1.0) if kind == "paired" else (study.title, 0.0)
    parts = lay_out(found, defenses, controls, corner, lambda place: format_place(place, lowest))
    arrow.write_table(output.parquet, to_long_table(found), {"study": study.name})
    write_texts(output, title, table.stem(study.name), to_wide_frame(found, [*defenses, *controls]), parts, notes)


def write_texts(
    output: Any, title: str, stem: str, wide: pd.DataFrame, parts: Sequence[Part], notes: Sequence[str]
) -> None:
    """Write a table for people as `output.csv`, `.md` and `.tex`. stem: what its files are called."""
    for path, text in (
        (output.csv, wide.to_csv(index=False)),
        (output.md, to_markdown(title, parts, notes)),
        (output.tex, to_latex(title, stem, parts, notes)),
    ):
        with files.writing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def format_place(place: TableCell, lowest: float = 0.0) -> str:
    """`33.1 [0–98] N1/3`: the mean, what stands beside it, and the marks of failed checks. Of an average that lacks
    cells, a dash and how many it has."""
    text = format_estimate(place.estimate, lowest)
    failed = place.failed.items() if place.estimate.n else ()
    if place.counted is not None and place.counted < place.cells:
        text += f" ({place.counted} of {place.cells})"
    marks = [MARKS[c] if n == place.cells else f"{MARKS[c]}{n}/{place.cells}" for c, n in failed]
    return " ".join([text, *sorted(marks)])


def to_wide_frame(found: Sequence[TableCell], columns: Sequence[str]) -> pd.DataFrame:
    """The means in percent, a line for each block, metric and row."""
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for place in sorted(found, key=lambda place: list(NAMES).index(place.metric)):
        line = lines.setdefault((place.block, place.metric, place.row), {})
        line[place.column] = format_percent(place.estimate.mean)
    blocks = dict.fromkeys(place.block for place in found)
    rows = [
        {**({"block": at[0]} if any(blocks) else {}), "metric": NAMES[at[1]], "row": at[2], **line}
        for block in blocks
        for at, line in lines.items()
        if at[0] == block
    ]
    keys = [*(["block"] if any(blocks) else []), "metric", "row", *columns]
    return pd.DataFrame(rows, columns=pd.Index(keys)).fillna("")


def to_percent(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with these columns of fractions in percent, as texts."""
    return frame.assign(
        **{column: [format_percent(value) for value in frame[column].astype(float)] for column in columns}
    )


def format_percent(value: float | None) -> str:
    """A fraction in percent, with two digits behind the point; nothing where there is none."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def to_markdown(title: str, parts: Sequence[Part], notes: Sequence[str]) -> str:
    """The table in Markdown, controls in italics behind the others."""
    lines = [f"# {title}", ""]
    for part in parts:
        frame = flatten(part, "*{}*".format)
        lines += [f"## {', '.join(part.heading)}", ""] if part.heading else []
        lines += [str(frame.to_markdown(index=False, disable_numparse=True)), ""]
    if any(part.controls for part in parts):
        notes = [*notes, "Controls are in italics: they are no defenses, but show what a number is worth."]
    return "\n".join([*lines, *notes]) + "\n"
