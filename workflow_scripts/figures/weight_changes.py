"""Whether the neurons that clean unlearning moves most are those that unlearning the backdoor moves most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.aggregate import mean_and_interval
from workflow_scripts.reporting.plotting import COLORS, wrap_label

Measured = tuple[pa.Table, dict[str, Any]]
LEGEND = "ρ: Spearman's, mean over seeds ± 95 % interval; in brackets: the control without a trigger; dots: first seed"


@dataclass(frozen=True)
class WeightChanges:
    """For each attack, at the first seed: the neuron weight changes in unlearning clean images, and in unlearning
    triggered ones with the attacker's labels (poison unlearning); the last layer's in colour.

    In words: Spearman's correlation, mean over seeds with Student's t 95 % interval, for the neurons of one network are
    no independent sample; that it may be 0 where the interval has 0; beside it that of the control, in which the same
    images are unlearned without the trigger; where an unlearning ended short of its stop.
    """

    def __call__(self, study: Study, unlearning: Sequence[Measured]) -> Figure:
        attacks: dict[str, list[Measured]] = {}
        for table, about in unlearning:
            if len(table):
                attacks.setdefault(about["attack"], []).append((table, about))
        count = max(1, len(attacks))
        columns = min(4, count)
        lines = -(-count // columns)
        figure, grid = plt.subplots(lines, columns, figsize=(2.8 * columns + 1.2, 2.8 * lines + 0.6), squeeze=False)
        for axis, (attack, seeds) in zip(grid.flat, attacks.items(), strict=False):
            _panel(axis, seeds[0][0])
            axis.set_title("\n".join([wrap_label(attack), *_words(seeds)]), fontsize=8)
        for axis in grid.flat[len(attacks) :]:
            axis.set_visible(False)
        figure.supxlabel("weight change in clean unlearning (L1)", fontsize=9)
        figure.supylabel("weight change in poison unlearning (L1)", fontsize=9)
        handles = grid.flat[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside right center", frameon=False, fontsize=8)
        figure.suptitle(f"{study.title}\n{LEGEND}")
        return figure


def _panel(axis: Axes, table: pa.Table) -> None:
    layers, clean, poison = (table[key].to_numpy() for key in ("layer", "clean", "poison"))
    last = layers == layers[-1]
    for chosen, name, color in ((~last, "other layers", COLORS[9]), (last, "last layer", COLORS[0])):
        axis.plot(
            clean[chosen], poison[chosen], "o", color=color, markersize=3, alpha=0.7, markeredgewidth=0, label=name
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(LogLocator(subs=(1, 3)))
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.tick_params(labelsize=8)
    axis.grid(color="#dddddd", linewidth=0.5)


def _words(seeds: Sequence[Measured]) -> list[str]:
    last = seeds[0][0]["layer"][-1].as_py()
    abouts = [about for _, about in seeds]
    found = []
    for name, layer in (("last layer", last), ("all layers", "all")):
        control = _over_seeds(abouts, "control", layer)[0]
        brackets = "" if control is None else f" [{control:.2f}]"
        found.append(
            f"{name}: ρ = {_format_interval(*_over_seeds(abouts, 'poison', layer))}{brackets}".replace("-", "−")
        )
    for kind in ("clean", "poison"):
        short_of = [went["kept"] for about in abouts if (went := about["unlearning"][kind])["kept"] > went["stop"]]
        if short_of:
            found.append(f"{kind} unlearning ended at {100 * max(short_of):.0f} %")
    return found


def _over_seeds(
    abouts: Sequence[dict[str, Any]], kind: str, layer: str
) -> tuple[float | None, float | None, float | None]:
    """Mean and interval of Spearman's correlation with the clean unlearning, where it is defined."""
    values = [about["correlation"][kind][layer]["spearman"] for about in abouts]
    return mean_and_interval([value for value in values if value is not None])


def _format_interval(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None:
        return "–"
    if low is None or high is None:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {(high - low) / 2:.2f}" + (", may be 0" if low <= 0 <= high else "")
