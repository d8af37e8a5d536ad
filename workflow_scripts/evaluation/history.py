"""What moved between the metrics of two commits, and what changed with it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import pyarrow as pa

from workflow_scripts.common import spellings
from workflow_scripts.common.cells import METRICS, Cell, cell_of
from workflow_scripts.common.fields import format_value
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.collecting import undefended_cell

MADE_BY = {
    "test": "prepare_data",
    "truth": "poison",
    "victim": "train",
    "model": "defend",
    "predictions": "evaluate",
    "metrics": "evaluate",
}
"""Which step makes a file of this name, where no auxiliary bears it and the attack does not train the victim."""
MOVED = pa.schema(
    [
        *((axis, pa.string()) for axis in (*Cell._fields, "protocol", "metric")),
        *((key, pa.float64()) for key in ("before", "after", "change")),
        *((key, pa.string()) for key in ("settings", "code", "data", "versions")),
    ]
)
"""A row for each number that moved: fractions, null where a cell is not there; what changed, null where it did not."""


class Place(NamedTuple):
    """A cell, asked by one protocol."""

    cell: Cell
    protocol: str


def find_moved(theirs: Sequence[Row], ours: Sequence[Row]) -> list[Row]:
    """The rows of `MOVED`, those that moved farthest first; a cell that only one side has is none of them. Rows are
    those of metrics with the `device` and the `versions` of their costs."""
    before, after = ({Place(cell_of(row), row["protocol"]): row for row in rows} for rows in (theirs, ours))
    found = []
    for place in before.keys() & after.keys():
        old, new = before[place], after[place]
        moved = [metric for metric in METRICS if old[metric] != new[metric]]
        if not moved:
            continue
        changes = describe_changes(*(_with_victim(place, rows) for rows in (before, after)))
        for metric in moved:
            pair = old[metric], new[metric]
            change = None if None in pair else pair[1] - pair[0]
            numbers = {"metric": metric, "before": pair[0], "after": pair[1], "change": change}
            found.append({**place.cell._asdict(), "protocol": place.protocol, **numbers, **changes})
    order = [*Cell._fields, "protocol", "metric"]
    return sorted(found, key=lambda row: (-abs(row["change"] or 0), [row[axis] for axis in order]))


def _with_victim(place: Place, rows: Mapping[Place, Row]) -> list[Row]:
    """The row of a place, and that of what its DER refers to, where there is one."""
    victim = rows.get(Place(undefended_cell(place.cell), "default"))
    return [rows[place], *([victim] if victim else [])]


def describe_changes(theirs: Sequence[Row], ours: Sequence[Row]) -> dict[str, str | None]:
    """What differs between the rows of a cell and of what its DER refers to: hyper-parameters, the steps whose code is
    another, the test images, the versions of what was used or the device; None where nothing does."""
    code, data, versions, settings = (dict[str, None]() for _ in range(4))
    for old, new in zip(theirs, ours, strict=False):
        code |= dict.fromkeys(find_step(path, new["attack"]) for path in _differing(old["code"], new["code"]))
        digests = _differing(old["digests"], new["digests"])
        data |= dict.fromkeys(path for path in digests if PurePath(path).name == "test.parquet")
        versions |= dict.fromkeys(_describe(old["versions"], new["versions"], ""))
        versions |= {} if old["device"] == new["device"] else {f"{old['device']} → {new['device']}": None}
    for axis in ("attack", "model", "defense"):
        settings |= dict.fromkeys(_describe(theirs[0][f"{axis}_params"], ours[0][f"{axis}_params"], f"{axis} "))
    named = {"settings": settings, "code": code, "data": data, "versions": versions}
    return {key: ", ".join(texts) or None for key, texts in named.items()}


def find_step(path: str, attack: str) -> str:
    """The step that makes an artifact of a cell under this attack, or the artifact if it is none that is known."""
    step = "train_auxiliary" if "/auxiliaries/" in path else MADE_BY.get(PurePath(path).stem, path)
    return "implant" if step in ("poison", "train") and spellings.is_implant(attack) else step


def _differing(old: str, new: str) -> Iterable[str]:
    """The keys of two JSON objects whose values differ; of one that only one has, nothing is known."""
    before, after = json.loads(old), json.loads(new)
    return [key for key in before if key in after and before[key] != after[key]]


def _describe(old: str, new: str, what: str) -> Iterable[str]:
    """`defense lr 0.1 → 0.2` for each of these keys, and for those that only one has."""
    before, after = json.loads(old), json.loads(new)
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield f"{what}{key} {_format(before, key)} → {_format(after, key)}"


def _format(values: Mapping[str, Any], key: str) -> str:
    return format_value(values[key]) if key in values else "none"
