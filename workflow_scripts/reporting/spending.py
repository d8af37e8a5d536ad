"""What defenses spend: seconds, passes and memory of the job of each, over its victims."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from workflow_scripts.common.cells import cell_of
from workflow_scripts.evaluation.averages import average_cells, common_places
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.costs import BEHIND, PASSES
from workflow_scripts.evaluation.rows import axes_apart, format_label, group_rows
from workflow_scripts.reporting.aggregate import estimate_average
from workflow_scripts.reporting.estimates import Estimate, estimate

SPENT = ("seconds", *BEHIND, *PASSES, "peak_memory_mb")


@dataclass(frozen=True)
class Spending:
    """A defense on the victims of one dataset, model and ratio, a row for each; places: the attacks and seeds that DER
    is averaged over, those at which every defense there has an implanted victim."""

    rows: Sequence[Row]
    places: Sequence[tuple[str, int]]

    @property
    def defense(self) -> str:
        """Its name in the study, with its protocol."""
        return format_label(self.rows[0], ["defense"])

    @property
    def control(self) -> bool:
        """Whether it is no defense."""
        return bool(self.rows[0]["control"])

    def mean(self, key: str) -> float:
        """What it spends on a victim."""
        return fmean(row[key] for row in self.rows)

    @property
    def seconds(self) -> Estimate:
        """Over victims, not seeds."""
        return estimate([row["seconds"] for row in self.rows])

    @property
    def der(self) -> Estimate:
        """Its average over attacks, over seeds; of nothing where it lacks a place."""
        return estimate_average(average_cells(self.rows, "der", self.places))


def add_costs(rows: Iterable[Row], costs: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows of the cells that a job of their own has made, with what it cost."""
    spent = {cell_of(cost): {key: cost[key] for key in SPENT} for cost in costs if cost["seconds"]}
    return [row | spent[cell_of(row)] for row in rows if cell_of(row) in spent]


def find_spending(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Spending]]:
    """What each defense has spent on attacked victims, of a study's rows with their costs: by dataset, model and ratio,
    those that tell victims apart; controls last."""
    attacked = [row for row in rows if row["attack"] != "none"]
    axes = [axis for axis in axes_apart(attacked) if axis != "attack"]
    found: dict[tuple[str, ...], list[Spending]] = {}
    for title, own in group_rows(attacked, lambda row: _name_victim(row, axes)).items():
        places, by_defense = common_places(own), group_rows(own, lambda row: format_label(row, ["defense"]))
        found[title] = sorted((Spending(members, places) for members in by_defense.values()), key=lambda s: s.control)
    return found


def _name_victim(row: Row, axes: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{'ratio ' if axis == 'ratio' else ''}{format_label(row, [axis])}" for axis in axes)
