"""How much of what a defense removes hangs on its hyper-parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import group_rows
from workflow_scripts.reporting.panels import finish, make_grid, wrap_label
from workflow_scripts.reporting.plotting import COLORS
from workflow_scripts.reporting.spread import WORST, Spread, find_spreads


@dataclass(frozen=True)
class Stability:
    """A panel for each attack of each victim, and for their average: a line for each method, on it a dot for the DER of
    each of its settings, the mean over seeds. A bar from the worst tenth of them to the median; a ring is the setting
    that the dataset has."""

    def __call__(self, study: Study, rows: Sequence[Row]) -> Figure:
        spreads = find_spreads(rows)
        methods = list(dict.fromkeys(spread.method for spread in spreads))
        shown = group_rows(spreads, lambda spread: "\n".join(filter(None, map(wrap_label, _place(spread)))))
        figure, grid = make_grid(
            len(shown), 2.2, max(1.8, 0.9 + 0.25 * len(methods)), 4, (1.0, 0.6), sharex=True, sharey=True
        )
        for axis, (title, own) in zip(grid, shown.items(), strict=False):
            _panel(axis, own, methods)
            axis.set_title(title, fontsize=9)
        return finish(figure, study.title, "DER (%)", legend="below")


def _place(spread: Spread) -> tuple[str, str]:
    return spread.victim, spread.attack


def _panel(axis: Axes, spreads: Sequence[Spread], methods: Sequence[str]) -> None:
    for spread in spreads:
        at, values = methods.index(spread.method), [100 * value for value in spread.values.values()]
        axis.plot(
            [100 * spread.worst, 100 * spread.median], [at, at], color=COLORS[1], linewidth=4, alpha=0.6,
            solid_capstyle="butt", label=f"worst {WORST:.0%} to median",
        )  # fmt: skip
        axis.plot(values, [at] * len(values), ".", color=COLORS[0], markersize=4, label="a setting", linestyle="none")
        if spread.own is not None:
            axis.plot(
                [100 * spread.own], [at], "o", color=COLORS[4], markerfacecolor="none", markersize=7,
                label="the dataset's own setting", linestyle="none",
            )  # fmt: skip
    axis.axvline(50, color="#bbbbbb", linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(methods)), methods, fontsize=8)
    axis.set_ylim(len(methods) - 0.5, -0.5)
    axis.set_xlim(0, 102)
    axis.tick_params(labelsize=7)
    axis.grid(axis="x", color="#eeeeee", linewidth=0.5)
