"""Published numbers, and which of them stands beside a cell of ours. `reported.md` says where they are from."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from workflow_scripts.common import spellings
from workflow_scripts.common.cells import METRICS

SOURCES = (
    "BackdoorBench leaderboard (2025)",
    "BackdoorBench results.csv (2024)",
    "FT-SAM (ICCV 2023)",
    "AGPD (ICLR 2025)",
    "RNP (ICML 2023)",
)
"""Where numbers may be from. Of two that are equally near, the one whose source is named first is taken."""
USUAL = {"dataset": "cifar10", "model": "preact_resnet18"}
"""What papers report where they report one thing only."""


class Published(NamedTuple):
    """One cell of a publication, of one run: fractions, None where there is no such number. Attack and defense are
    spelled as in studies; `setting` is what is known of how it was made."""

    source: str
    table: str
    place: str
    dataset: str
    model: str
    ratio: float
    attack: str
    defense: str
    acc: float | None
    asr: float | None
    ra: float | None
    der: float | None
    setting: str

    @property
    def victim(self) -> tuple[str, str, str, float, str]:
        """What it has in common with the undefended model that it is read against, which is of its own source."""
        return self.source, self.dataset, self.model, self.ratio, self.attack


def read_published(path: str) -> list[Published]:
    """The cells of a file like `reported.csv`, whose numbers are percentages. ValueError at a source that is not among
    `SOURCES`: what somebody remembers is no publication."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        found = [_read_line(line) for line in csv.DictReader(file)]
    if unknown := {cell.source for cell in found} - set(SOURCES):
        raise ValueError(f"{path}: no publication is known as {', '.join(sorted(unknown))}")
    return found


def _read_line(line: Mapping[str, str]) -> Published:
    numbers = {metric: float(line[metric]) / 100 if line[metric] else None for metric in METRICS}
    return Published(**{**line, **numbers, "ratio": float(line["ratio"])})  # type: ignore[arg-type]


def find_nearest(published: Iterable[Published], row: Mapping[str, Any]) -> Published | None:
    """The cell of the same attack and defense whose setting is nearest to that of one of our rows, None if there is
    none. The attack's hyper-parameters count first, then the dataset, the model, the ratio and the defense's
    hyper-parameters. What is spelled with hyper-parameters stands beside nothing but that spelling."""
    candidates = [cell for cell in published if all(_may_mean(getattr(cell, a), row[a]) for a in ("attack", "defense"))]
    return min(candidates, key=lambda cell: _measure_distance(cell, row), default=None)


def find_undefended(published: Iterable[Published], cells: Sequence[Published]) -> list[Published]:
    """The undefended models that these cells are read against, each once; some sources do not have theirs."""
    known = {cell.victim: cell for cell in published if cell.defense == "none"}
    return [known[victim] for victim in dict.fromkeys(cell.victim for cell in cells) if victim in known]


def _may_mean(theirs: str, ours: str) -> bool:
    return theirs in (ours, spellings.method_name(ours))


def _measure_distance(cell: Published, row: Mapping[str, Any]) -> tuple[float, ...]:
    return (
        cell.attack != row["attack"],
        _rank(cell, row, "dataset"),
        _rank(cell, row, "model"),
        abs(math.log(cell.ratio / float(row["ratio"]))),
        cell.defense != row["defense"],
        SOURCES.index(cell.source),
    )


def _rank(cell: Published, row: Mapping[str, Any], axis: str) -> int:
    """0 of the same, 1 of the usual one, 2 of any other."""
    theirs = getattr(cell, axis)
    return 0 if theirs == spellings.method_name(row[axis]) else 1 if theirs == USUAL[axis] else 2
