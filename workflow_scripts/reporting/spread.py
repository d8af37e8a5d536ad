"""How much of what a defense removes hangs on its hyper-parameters: DER over the settings that a study asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.common import spellings
from workflow_scripts.evaluation.averages import average_cells, common_places
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import axes_apart, format_label, group_rows
from workflow_scripts.reporting.aggregate import AVERAGE

WORST = 0.1


@dataclass(frozen=True)
class Spread:
    """The settings of one method against one attack, or in the average over all. values: DER in the mean over seeds, by
    the defense's spelling on the dataset; own: that of the method as the dataset has it set, None where the study does
    not ask."""

    victim: str
    attack: str
    method: str
    values: dict[str, float]

    @property
    def own(self) -> float | None:
        return self.values.get(self.method)

    @property
    def median(self) -> float:
        return float(np.median(list(self.values.values())))

    @property
    def worst(self) -> float:
        """What a tenth of the settings do not exceed."""
        return float(np.quantile(list(self.values.values()), WORST, method="inverted_cdf"))


def find_spreads(rows: Iterable[Row]) -> list[Spread]:
    """Of each victim, asked by each protocol, the methods that have several settings: over each attack, and where there
    are several over all that are implanted for every setting of every method. Two names of one setting count once."""
    attacked = [row for row in rows if row["attack"] != "none" and not row["control"] and row["defense"] != "none"]
    axes = axes_apart(attacked)
    victim, condition = ([axis for axis in axes if (axis in ("attack", "ratio")) == inside] for inside in (False, True))
    found = []
    for name, own in group_rows(attacked, lambda row: format_label(row, [*victim, "protocol"])).items():
        named = [row | {"attack": format_label(row, condition)} for row in own]
        attacks = list(dict.fromkeys(row["attack"] for row in named))
        for attack in [*attacks, AVERAGE] if len(attacks) > 1 else attacks:
            places = [place for place in common_places(named) if attack in (place[0], AVERAGE)]
            members = group_rows(named, lambda row: spellings.method_name(row["defense"]))
            spreads = (Spread(name, attack, method, _average(rows, places)) for method, rows in members.items())
            found += [spread for spread in spreads if len(spread.values) > 1]
    return found


def _average(rows: Sequence[Row], places: Sequence[tuple[str, int]]) -> dict[str, float]:
    settings = group_rows(rows, lambda row: str(row["setting"])).items()
    averages = {setting: average_cells(own, "der", places).mean for setting, own in settings}
    return {setting: mean for setting, mean in averages.items() if mean is not None}
