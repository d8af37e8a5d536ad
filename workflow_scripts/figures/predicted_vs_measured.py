"""EigenGuard's theory: predicted against measured energy of the trigger at which a prediction flips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.panels import finish, make_grid, panels
from workflow_scripts.reporting.plotting import COLORS, MARKERS

NAMES = {"off": "no filter", "damped": "tail damped", "unchanged": "tail unchanged"}


@dataclass(frozen=True)
class PredictedVsMeasured:
    """A point for each share, weight of the trigger and draw, larger for a larger share; what never flips lies
    beyond the dotted lines, points upon points."""

    def __call__(self, study: Study, flip_energy: Sequence[Measured]) -> Figure:
        never, low = 2.5 * flip_energy[0][1]["highest"], 0.5 * flip_energy[0][1]["lowest"]
        shown = panels(flip_energy)
        figure, grid = make_grid(len(NAMES) * len(shown), 2.9, 3.1, len(NAMES), (0.3, 0.6), sharex=True, sharey=True)
        places = [(title, seeds, arm) for title, seeds in shown.items() for arm in NAMES]
        for axis, (title, seeds, arm) in zip(grid, places, strict=True):
            rows = [row for table, _ in seeds for row in table.to_pylist() if row["arm"] == arm]
            _panel(axis, rows, list(NAMES).index(arm), low, never)
            axis.set_title(NAMES[arm] if len(shown) == 1 else f"{title}\n{NAMES[arm]}")
        grid[0].set(xscale="log", yscale="log", xlim=(low, 1.6 * never), ylim=(low, 1.6 * never))
        ticks = [0.1, 1, 10, never]
        grid[0].set_xticks(ticks, ["0.1", "1", "10", "never"])
        grid[0].set_yticks(ticks, ["0.1", "1", "10", "never"])
        grid[0].minorticks_off()
        x = "predicted amplitude of the trigger at which a prediction flips (its energy is the square)"
        return finish(figure, study.title, x, "measured")


def _panel(axis: Axes, rows: Sequence[dict[str, Any]], place: int, low: float, never: float) -> None:
    predicted, measured = np.array([[row[key] or never for key in ("predicted", "measured")] for row in rows]).T
    sizes = [10 + 60 * row["share"] for row in rows]
    axis.scatter(predicted, measured, sizes, color=COLORS[place], marker=MARKERS[place], alpha=0.5, linewidths=0)
    count = int(((predicted == never) & (measured == never)).sum())
    axis.text(0.03, 0.79, f"{count} of {len(rows)} never, as predicted", transform=axis.transAxes, fontsize=8)
    axis.plot([low, never], [low, never], color="#555555", linewidth=0.8, zorder=0)
    axis.axline((never / 1.6, 1), (never / 1.6, 2), color="#aaaaaa", linewidth=0.8, linestyle=":")
    axis.axline((1, never / 1.6), (2, never / 1.6), color="#aaaaaa", linewidth=0.8, linestyle=":")
    axis.set_aspect("equal")
