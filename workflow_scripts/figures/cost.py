"""What a defense removes against what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from workflow_scripts.common import spellings
from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.notes import join_words
from workflow_scripts.reporting.panels import finish, make_grid, wrap_label
from workflow_scripts.reporting.plotting import COLORS, MARKERS
from workflow_scripts.reporting.spending import Spending, find_spending


@dataclass(frozen=True)
class Cost:
    """A panel for each dataset, model and ratio: a mark for each defense, from left to right the seconds of its job in
    the mean over victims, upwards the average of DER over attacks with its range over seeds; a control is hollow, in
    the color of what it controls. At 50 nothing is gained; a dotted line is at what the training of a victim took."""

    def __call__(self, study: Study, costs: Sequence[Row]) -> Figure:
        found = find_spending(costs)
        styles = _assign_styles([one for own in found.values() for one in own])
        height = max(3.2, 0.2 * sum(len(wrap_label(name).splitlines()) for name in styles))  # the legend's
        figure, grid = make_grid(len(found), 4.2, height, 2, (2.4, 1.0))
        for axis, (title, own) in zip(grid, found.items(), strict=False):
            _panel(axis, [one for one in own if one.der.mean is not None], styles)
            axis.set_title("\n".join(map(wrap_label, title)), fontsize=9)
        attacks = dict.fromkeys(format_spelling(row["attack"]) for row in costs if row["attack"] != "none")
        note = f"the average over {join_words(list(attacks))} (where implanted)"
        return finish(figure, study.title, "seconds of a defense's job", "DER (%)", legend="right", note=note)


def _assign_styles(found: Sequence[Spending]) -> dict[str, tuple[str, str]]:
    """A color and a marker for each defense; a control at random has those of what it controls, where that is drawn."""
    controlled = {spellings.at_random(one.rows[0]["defense"]): one.defense for one in found}
    owners = {one.defense: controlled.get(one.rows[0]["defense"], one.defense) for one in found}
    order = list(dict.fromkeys(owners.values()))
    places = {name: order.index(owner) for name, owner in owners.items()}
    return {name: (COLORS[at % len(COLORS)], MARKERS[at // len(COLORS) % len(MARKERS)]) for name, at in places.items()}


def _panel(axis: Axes, found: Sequence[Spending], styles: Mapping[str, tuple[str, str]]) -> None:
    axis.axhline(50, color="#bbbbbb", linewidth=0.8, zorder=0)
    for one in found:
        (color, marker), mean = styles[one.defense], one.der.mean or 0
        low, high = one.der.interval(0, 1) or (mean, mean)
        seconds = one.mean("seconds")
        axis.plot([seconds] * 2, [100 * low, 100 * high], color=color, linewidth=0.8, alpha=0.6, zorder=1)
        axis.plot(
            [seconds], [100 * mean], marker, color=color, markerfacecolor="white" if one.control else color,
            markersize=6, label=wrap_label(one.defense), linestyle="none", zorder=2,
        )  # fmt: skip
    if found:
        training = found[0].mean("training_seconds")
        axis.axvline(training, color="#555555", linewidth=0.8, linestyle=":", label="training a victim")
    axis.set_xscale("log")
    axis.margins(x=0.1)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=7)
    axis.grid(color="#eeeeee", linewidth=0.5)
