"""What the scores of a defense are worth at every share of units, and what choosing one costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.figures._scored import drop_duplicate_orders
from workflow_scripts.reporting.panels import finish, make_lines, panels, wrap_label
from workflow_scripts.reporting.plotting import COLORS

LINES = {"acc": ("ACC", COLORS[0]), "asr": ("ASR", COLORS[4]), "ra": ("RA", COLORS[5])}
MARKS: dict[str, tuple[str, dict[str, Any]]] = {
    "own": ("as many as the\ndefense pruned", {"marker": "o", "markersize": 9, "color": COLORS[6]}),
    "blind": ("blind choice", {"marker": "s", "markersize": 6, "color": COLORS[2]}),
    "oracle": ("oracle's choice", {"marker": "X", "markersize": 4, "color": COLORS[8], "markerfacecolor": COLORS[8]}),
}


@dataclass(frozen=True)
class Sweep:
    """A line of panels for each defense, one for each attack: ACC, ASR and RA over the share of units silenced in the
    order of the logged scores, means over seeds, the seeds as thin lines. Marks on the ASR of each seed show the
    defense's own number of units, and what a defender (blind) and an oracle choose within the same loss of accuracy.

    The axis is stretched where shares are small: its distances are those of the square root.
    """

    def __call__(self, study: Study, sweep: Sequence[Measured]) -> Figure:
        found = drop_duplicate_orders(sweep, only_controls=True)
        defenses, shown = list(dict.fromkeys(about["defense"] for _, about in found)), panels(found)
        lines, columns = max(1, len(defenses)), max(1, len(shown))
        size = (2.1 * columns + 2.2, 1.7 * lines + 0.9)
        figure, grid = make_lines(lines, columns, size, sharex=True, sharey=True)
        for line, defense in zip(grid, defenses, strict=False):
            for axis, (title, seeds) in zip(line, shown.items(), strict=False):
                _panel(axis, [table for table, about in seeds if about["defense"] == defense])
                if axis in grid[0]:
                    axis.set_title(title)
            line[0].set_ylabel(wrap_label(defense), fontsize=8)
        x, y = "units silenced (%)", "ACC, ASR, RA (%)"
        return finish(figure, study.title, x, y, legend="right", note="nothing is fine-tuned")


def _panel(axis: Axes, seeds: Sequence[pa.Table]) -> None:
    columns = [{key: table[key].to_numpy() for key in (*LINES, *MARKS, "share")} for table in seeds]
    for metric, (name, color) in LINES.items():
        curves = [dict(zip(own["share"], own[metric], strict=True)) for own in columns]
        shared = sorted(set.intersection(*map(set, curves))) if curves else []  # a defense's own share is one seed's
        for curve in curves:
            axis.plot(
                [100 * x for x in curve], [100 * y for y in curve.values()], color=color, linewidth=0.5, alpha=0.5
            )
        means = [100 * np.mean([curve[share] for curve in curves]) for share in shared]
        axis.plot([100 * share for share in shared], means, color=color, linewidth=1.6, label=name)
    for mark, (name, drawn) in MARKS.items():
        places = [100 * np.concatenate([[], *(own[key][own[mark]] for own in columns)]) for key in ("share", "asr")]
        style: dict[str, Any] = {"markerfacecolor": "none", "linestyle": "none", "clip_on": False, "zorder": 3}
        axis.plot(*places, **style | drawn, label=name)
    axis.set_xscale("function", functions=(lambda share: np.sqrt(np.maximum(share, 0)), np.square))
    axis.set_xlim(0, 92)
    axis.set_xticks([0, 5, 20, 50, 90])
    axis.set_ylim(-5, 105)
    axis.grid(color="#dddddd", linewidth=0.5)
