"""The plane of ACC and ASR: what a defense removes, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.reporting.aggregate import axes_that_differ, format_label
from workflow_scripts.reporting.plotting import COLORS, MARKERS, wrap_label


@dataclass(frozen=True)
class TradeOff:
    """A panel for each attack: means as large marks, the single seeds as dots; the clean model's ACC and ASR as lines
    where the study has one model.

    The ACC axis is stretched where defenses differ: its distances are those of log(100.5 - ACC).
    """

    def __call__(self, study: Study, rows: Sequence[Row]) -> Figure:
        attacked = [row for row in rows if row["asr"] is not None]
        panels, series = axes_that_differ(attacked, "dataset", "attack"), axes_that_differ(attacked, "model", "defense")
        attacks = list(dict.fromkeys(format_label(row, panels) for row in attacked))
        count = max(1, len(attacks))
        columns = min(4, count)
        lines = -(-count // columns)
        entries = len({format_label(row, series) for row in attacked}) + 2
        beside = entries <= 12
        size = (2.6 * columns + (1.6 if beside else 0), 2.6 * lines + (0.5 if beside else 0.6 + 0.2 * entries / 4 * 3))
        figure, grid = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
        for axis, attack in zip(grid.flat, attacks, strict=False):
            _panel(axis, [row for row in attacked if format_label(row, panels) == attack], attacked, series)
            axis.set_title(wrap_label(attack))
        for axis in grid.flat[len(attacks) :]:
            axis.set_visible(False)
        for axis in grid[-1]:
            axis.set_xlabel("ACC (%)")
        figure.supylabel("ASR (%)", fontsize=9)
        handles = {h.get_label(): h for axis in grid.flat for h in axis.get_legend_handles_labels()[0]}
        place = {"loc": "outside right center"} if beside else {"loc": "outside lower center", "ncols": 4}
        figure.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, **place)
        figure.suptitle(study.title)
        return figure


def _panel(axis: Axes, rows: Sequence[Row], attacked: Sequence[Row], series: Sequence[str]) -> None:
    defenses = list(dict.fromkeys(format_label(row, series) for row in attacked))
    clean = [row for row in rows if row["defense"] == "clean"]
    if len({row["model"] for row in clean}) == 1:  # of several models each has a mark of its own
        acc, asr = (100 * sum(row[metric] for row in clean) / len(clean) for metric in ("acc", "asr"))
        axis.axhline(asr, color="#555555", linewidth=1, linestyle="--", label="clean model's ASR")
        axis.axvline(acc, color="#555555", linewidth=1, linestyle=":", label="clean model's ACC")
    for place, defense in enumerate(defenses):
        seeds = [row for row in rows if format_label(row, series) == defense]
        if not seeds:
            continue
        accs, asrs = ([100 * row[metric] for row in seeds] for metric in ("acc", "asr"))
        turn, at = divmod(place, len(COLORS))
        color, marker = COLORS[at], MARKERS[(at + turn) % len(MARKERS)]
        control = seeds[0]["control"]
        axis.plot(accs, asrs, "o", color=color, markersize=3.5, markeredgecolor="white", markeredgewidth=0.4, zorder=3)
        axis.plot(
            [sum(accs) / len(accs)],
            [sum(asrs) / len(asrs)],
            marker,
            color=color,
            markerfacecolor="none" if control else color,
            markersize=8,
            linestyle="none",
            alpha=0.8,
            label=wrap_label(defense),
        )
    axis.set_ylim(-5, 105)
    axis.set_xscale("function", functions=(lambda acc: -np.log10(100.5 - acc), lambda place: 100.5 - 10.0**-place))
    axis.set_xlim(0, 100.2)
    axis.set_xticks([0, 50, 80, 90, 95, 98, 100])
    axis.grid(color="#dddddd", linewidth=0.5)
