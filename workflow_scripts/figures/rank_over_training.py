"""Rank and local dimension of clean and of triggered features over training."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.panels import finish, make_lines, panels
from workflow_scripts.reporting.plotting import COLORS

MEASURES = {
    "effective_rank": "effective rank",
    "stable_rank": "stable rank",
    "local_dimension": "local intrinsic\ndimension",
}
CLEAN, TRIGGERED = COLORS[0], COLORS[4]


@dataclass(frozen=True)
class RankOverTraining:
    """A row for each attack: three measures by epoch, then ACC and ASR of features forced into their top k directions.
    Means over seeds, the single seeds thin."""

    def __call__(self, study: Study, feature_rank: Sequence[Measured]) -> Figure:
        shown = panels(feature_rank)
        size = (10.5, 1.9 * len(shown) + 0.9)
        figure, grid = make_lines(len(shown), 4, size, sharex="col", sharey="col")
        for line, (title, seeds) in zip(grid, shown.items(), strict=True):
            own = pd.concat([table.to_pandas().assign(seed=about["seed"]) for table, about in seeds])
            for axis, measure in zip(line, MEASURES, strict=False):
                for images, color in (("clean", CLEAN), ("triggered", TRIGGERED)):
                    chosen = own[(own["measure"] == measure) & (own["images"] == images)]
                    _curve(axis, chosen, "epoch", color, images)
            for measure, color in (("acc", CLEAN), ("asr", TRIGGERED)):
                _curve(line[3], own[own["measure"] == measure].assign(value=lambda d: 100 * d["value"]), "k", color)
            line[0].set_ylabel(title)
        for axis, title in zip(grid[0], [*MEASURES.values(), "ACC, ASR (%) of the\ntop k directions"], strict=True):
            axis.set_title(title, fontsize=9)
        for axis, name in zip(grid[-1], ["epoch"] * 3 + ["k"], strict=True):
            axis.set_xlabel(name)
        grid[0, 3].set_xscale("log")
        grid[0, 3].set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"], minor=False)
        grid[0, 3].minorticks_off()
        return finish(figure, study.title, legend="below")


def _curve(axis: Axes, rows: pd.DataFrame, x: str, color: str, label: str | None = None) -> None:
    if rows.empty:
        return
    for _, seed in rows.groupby("seed"):
        axis.plot(seed[x], seed["value"], color=color, linewidth=0.6, alpha=0.45)
    mean = rows.groupby(x)["value"].mean()
    axis.plot(mean.index, mean, color=color, linewidth=1.8, label=label)
    axis.grid(color="#dddddd", linewidth=0.5)
