"""The table `costs`: what each defense spends on a victim, and what that removes."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from workflow_scripts.common import arrow
from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.costs import COSTS
from workflow_scripts.evaluation.rows import count_missing, format_label, name_rows
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.estimates import format_estimate
from workflow_scripts.reporting.layout import Part
from workflow_scripts.reporting.notes import describe_absent, name_places
from workflow_scripts.reporting.spending import SPENT, Spending, add_costs, find_spending
from workflow_scripts.reporting.tables import to_percent, write_texts

LONG = pa.schema(
    [
        *((key, pa.string()) for key in ("dataset", "model", "ratio", "defense")),
        ("control", pa.bool_()),
        ("victims", pa.int64()),
        *((key, pa.float64()) for key in (*SPENT, "least_seconds", "most_seconds", "der")),
    ]
)
"""The table for machines: means over victims; `der` a fraction, empty where a defense lacks one that others have."""


def write(study: Study, metrics: str, costs: str, output: Any) -> None:
    """Write `output.parquet`, `.csv`, `.md` and `.tex` from the study's metrics and costs."""
    (table,) = (table for table in study.tables if table.kind == "costs")
    rows, spent = (
        arrow.read_table(path, schema)[0].to_pylist() for path, schema in ((metrics, SCHEMA), (costs, COSTS))
    )
    found = find_spending(name_rows(study, add_costs(rows, spent)))
    long = to_long_table(found)
    arrow.write_table(output.parquet, long, {"study": study.name})
    notes = [*write_notes(found, {row["device"] for row in spent}), *describe_absent(study, count_missing(study, rows))]
    parts = [lay_out_costs(title, own) for title, own in found.items()]
    wide = to_percent(long.to_pandas(), ["der"])
    write_texts(output, f"{study.title}: costs", table.stem(study.name), wide, parts, notes)


def to_long_table(found: Mapping[tuple[str, ...], Sequence[Spending]]) -> pa.Table:
    """A row for each defense of each dataset, model and ratio; of ratios that go with the attack, all of them."""
    rows = []
    for one in (one for own in found.values() for one in own):
        ratios = dict.fromkeys(format_label(row, ["ratio"]) for row in one.rows)
        about = {"dataset": one.rows[0]["dataset"], "model": one.rows[0]["model"], "ratio": " ".join(ratios)}
        about |= {"defense": one.defense, "control": one.control}
        range_ = {"least_seconds": one.seconds.minimum, "most_seconds": one.seconds.maximum, "der": one.der.mean}
        rows.append({**about, "victims": len(one.rows), **{key: one.mean(key) for key in SPENT}, **range_})
    return pa.Table.from_pylist(rows, LONG)


def lay_out_costs(title: tuple[str, ...], found: Sequence[Spending]) -> Part:
    """A line for each defense."""
    auxiliary = any(one.mean("auxiliary_seconds") for one in found)
    lines = {format_spelling(one.defense): _describe(one, auxiliary) for one in found}
    frame = pd.DataFrame.from_dict(lines, orient="index").rename_axis("defense")
    return Part(tuple(map(format_spelling, title)), frame, sum(one.control for one in found), turned=True)


def _describe(one: Spending, auxiliary: bool) -> dict[str, str]:
    least, most = one.seconds.minimum or 0, one.seconds.maximum or 0
    range_ = f" [{_format_seconds(least)}–{_format_seconds(most)}]" if len(one.rows) > 1 else ""
    return {
        "seconds": _format_seconds(one.mean("seconds")) + range_,
        "of training": f"{one.mean('seconds') / one.mean('training_seconds'):.2g}",
        **({"auxiliaries": _format_seconds(one.mean("auxiliary_seconds"))} if auxiliary else {}),
        **{way: f"{one.mean(f'{way}_passes') / 1000:,.1f}" for way in ("forward", "backward")},
        "memory": f"{one.mean('peak_memory_mb'):,.0f}",
        "DER": format_estimate(one.der),
    }


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"


def write_notes(found: Mapping[tuple[str, ...], Sequence[Spending]], devices: set[str]) -> list[str]:
    """Sentences: what each column is."""
    notes = [
        f"Seconds of the job of each defense on one victim, start-up left out: the mean over victims, the range in "
        f"brackets; on {', '.join(sorted(devices))}. `of training`: as a share of the seconds that the training of the "
        "victim took.",
        "`forward`: thousands of images that networks were shown; `backward`: of how many of them gradients came back. "
        "These do not hang on the machine. `memory`: the most that the job held, in MB: of the whole process on a CPU, "
        "of the tensors on a GPU.",
    ]
    if any(one.mean("auxiliary_seconds") for own in found.values() for one in own):
        notes.append("`auxiliaries`: seconds of what was trained beforehand, which other cells share.")
    places = {name_places(one.places) for own in found.values() for one in own if one.places}
    return [*notes, *(f"DER is the average over {counted}." for counted in sorted(places))]
