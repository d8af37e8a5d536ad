"""A study's table: long Parquet for machines; wide CSV, Markdown and LaTeX, in percent, for people."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from workflow_scripts.common import files
from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import MARKS
from workflow_scripts.reporting.aggregate import (
    AVERAGE,
    TableCell,
    count_missing,
    format_spelling,
    order_columns,
    read_study_rows,
    table_cells,
    to_long_table,
)

NAMES = {"acc": "ACC", "asr": "ASR", "ra": "RA", "der": "DER"}
Text = Callable[[TableCell], str]


def write(study: Study, metrics: str, output: Any) -> None:
    """Write `output.parquet`, `.csv`, `.md` and `.tex` from the study's rows of `metrics.parquet`."""
    rows = read_study_rows(study, metrics)
    found = table_cells(study, rows)
    defenses, controls = order_columns(study, rows)
    files.write_table(output.parquet, to_long_table(found), {"study": study.name})
    notes = write_notes(study, found, count_missing(study, rows))
    for path, text in (
        (output.csv, to_wide_frame(found, defenses + controls, format_mean).to_csv()),
        (output.md, to_markdown(study, found, defenses, controls, notes)),
        (output.tex, to_latex(study, found, defenses, controls, notes)),
    ):
        with files.writing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def format_mean(place: TableCell) -> str:
    """`97.48`."""
    return "" if place.mean is None else f"{100 * place.mean:.2f}"


def format_with_interval(place: TableCell) -> str:
    """`97.48 ± 0.61 R`: mean, half of the t interval, and the marks of failed checks."""
    if place.mean is None:
        return "–"
    text = format_mean(place)
    if place.high is not None:
        text += f" ± {100 * (place.high - place.mean):.2f}"
    if place.row == AVERAGE and place.counted < place.cells:
        text += f" ({place.counted} of {place.cells})"
    marks = [MARKS[c] if n == place.cells else f"{MARKS[c]}{n}/{place.cells}" for c, n in place.failed.items()]
    return " ".join([text, *sorted(marks)])


def to_wide_frame(found: Sequence[TableCell], columns: Sequence[str], text: Text) -> pd.DataFrame:
    """A block of rows for each metric, one column for each of `columns`."""
    cells = {((NAMES[place.metric], place.row), place.column): text(place) for place in found}
    index = list(dict.fromkeys((NAMES[p.metric], p.row) for m in NAMES for p in found if p.metric == m))
    frame = pd.DataFrame(
        [[cells.get((at, column), "") for column in columns] for at in index],
        index=pd.MultiIndex.from_tuples(index, names=["metric", "row"]),
        columns=[format_spelling(column) for column in columns],
    )
    return frame.rename(index=format_spelling, level=1)


def write_notes(study: Study, found: Sequence[TableCell], absent: int) -> list[str]:
    """What a reader must know beside the numbers."""
    seeds = sorted({place.n for place in found if place.n})
    many = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(*seeds)
    notes = [f"Percent; mean ± half of Student's t 95 % interval over {many} seeds."]
    shown = {check for place in found for check in place.failed}
    if shown:
        legend = ", ".join(f"{mark} {check}" for check, mark in MARKS.items() if check in shown)
        notes.append(f"Failed checks, with how many of the seeds where not all: {legend} (evaluation/checks.md).")
    if any(place.row == AVERAGE for place in found):
        notes.append("The average is over attacks other than none, without cells that are not_implanted or diverged.")
    if absent:
        notes.append(f"Partial: {absent} of {len(study.cells)} cells have not been computed.")
    return notes


def to_markdown(
    study: Study, found: Sequence[TableCell], defenses: Sequence[str], controls: Sequence[str], notes: Sequence[str]
) -> str:
    """The table in Markdown, controls in italics behind the others."""
    frame = to_wide_frame(found, [*defenses, *controls], format_with_interval)
    frame.columns = pd.Index([*frame.columns[: len(defenses)], *(f"*{c}*" for c in frame.columns[len(defenses) :])])
    legend = ["Controls are in italics: no defenses, but what a number is worth."] if controls else []
    lines = [f"# {study.title}", "", str(frame.reset_index().to_markdown(index=False, disable_numparse=True)), ""]
    return "\n".join([*lines, *notes, *legend]) + "\n"


def to_latex(
    study: Study, found: Sequence[TableCell], defenses: Sequence[str], controls: Sequence[str], notes: Sequence[str]
) -> str:
    """The table for `\\usepackage{booktabs}`, controls behind a rule."""
    frame = to_wide_frame(found, [*defenses, *controls], format_with_interval).map(
        lambda text: text.replace("±", "$\\pm$")
    )
    escaped = frame.rename(columns=_escape).rename(index=_escape, level=1).map(lambda text: text.replace("%", "\\%"))
    escaped.index.names = ["", ""]
    form = "ll" + "r" * len(defenses) + ("|" + "r" * len(controls) if controls else "")
    caption = _escape(f"{study.title}. {' '.join(notes)}").replace("±", "$\\pm$")
    label = "tab:" + study.name.replace("/", "-")
    return str(escaped.to_latex(column_format=form, caption=caption, label=label, position="t"))


def _escape(text: str) -> str:
    return text.replace("_", "\\_").replace("%", "\\%")
