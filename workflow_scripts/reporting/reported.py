"""The table `reported`: theirs, ours, the difference, and what differs in the setting."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from workflow_scripts.common import arrow
from workflow_scripts.common.cells import Study, Table
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.rows import count_missing, format_label, group_rows, name_references, name_rows
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.comparison import VICTIM, Line, Otherwise, compare, describe_otherwise
from workflow_scripts.reporting.estimates import describe_estimates
from workflow_scripts.reporting.notes import describe_absent, describe_marks, join_words
from workflow_scripts.reporting.published import read_published
from workflow_scripts.reporting.reported_parts import lay_out_reported
from workflow_scripts.reporting.tables import to_percent, write_texts

NUMBERS = ("theirs", "ours", "minimum", "maximum", "difference")
THEIRS = ("source", "table", "place", "dataset", "model", "attack", "ratio", "setting")
LONG = pa.schema(
    [
        *((key, pa.string()) for key in (*VICTIM, "defense", "metric")),
        *((key, pa.float64()) for key in NUMBERS),
        ("seeds", pa.int64()),
        *((f"their_{key}", pa.string()) for key in THEIRS),
        ("set_otherwise", pa.string()),
    ]
)
"""The table for machines: fractions; empty, from `theirs` on, where nothing was published."""


def write(study: Study, metrics: str, published: str, otherwise: Otherwise, output: Any) -> None:
    """Write `output.parquet`, `.csv`, `.md` and `.tex` from the study's metrics and the file of published numbers."""
    (table,) = (table for table in study.tables if table.kind == "reported")
    rows = arrow.read_table(metrics, SCHEMA)[0].to_pylist()
    lines = compare(name_rows(study, rows), name_references(study, rows), read_published(published))
    long = to_long_table(table, lines, otherwise)
    arrow.write_table(output.parquet, long, {"study": study.name})
    parts = lay_out_reported(table, [line for line in lines if line.theirs] or lines, otherwise)
    notes = [*write_notes(table, lines), *describe_absent(study, count_missing(study, rows))]
    title = f"{study.title}: beside what was published"
    write_texts(output, title, table.stem(study.name), to_percent(long.to_pandas(), NUMBERS), parts, notes)


def to_long_table(table: Table, lines: Iterable[Line], otherwise: Otherwise) -> pa.Table:
    """A row for each line and metric."""
    found = []
    for line in lines:
        theirs = line.theirs._asdict() | {"ratio": f"{line.theirs.ratio:g}"} if line.theirs else {}
        about: dict[str, Any] = {axis: format_label(line.rows[0], [axis]) for axis in (*VICTIM, "defense")}
        about |= {f"their_{key}": theirs.get(key) for key in THEIRS}
        about["set_otherwise"] = describe_otherwise(line, otherwise)
        for metric in table.values:
            ours = line.ours(metric)
            numbers = (line.published(metric), ours.mean, ours.minimum, ours.maximum, line.difference(metric))
            found.append({**about, "metric": metric, "seeds": ours.n, **dict(zip(NUMBERS, numbers, strict=True))})
    return pa.Table.from_pylist(found, LONG)


def write_notes(table: Table, lines: Sequence[Line]) -> list[str]:
    """Sentences: what stands beside what, and what was never published."""
    beside = [line for line in lines if line.theirs]
    counts = [n for line in lines for metric in table.values if (n := line.ours(metric).n)]
    notes = [describe_estimates(counts), "Theirs are of one run; the difference is ours minus theirs, in points."]
    if elsewhere := dict.fromkeys(apart for line in beside if (apart := line.differing_axes().get("dataset"))):
        named = join_words([f"{theirs} for {ours}" for ours, theirs in elsewhere])
        notes.append(f"Theirs is not of the same dataset: {named}.")
    notes.append("Lines of one number under `setting` are from one source; compare theirs within it only.")
    notes += describe_marks({check for line in beside for row in line.rows for check in row["checks"]})
    return [*notes, _describe_unpublished(lines)] if beside else [notes[0], "Nothing of this has been published."]


def _describe_unpublished(lines: Iterable[Line]) -> str:
    """Which defenses, and under which attacks, no publication at hand has."""
    found = []
    for defense, own in group_rows(lines, lambda line: format_spelling(line.defense)).items():
        attacks = dict.fromkeys(format_spelling(line.rows[0]["attack"]) for line in own if not line.theirs)
        if attacks:
            found.append(defense + (f" ({', '.join(attacks)})" if any(line.theirs for line in own) else ""))
    return f"No published number is at hand of {join_words(found)}." if found else ""
