"""What the two unlearnings do to the activations that the trigger causes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.common.fields import PositiveShare
from workflow_scripts.reporting.panels import finish, make_lines, panels
from workflow_scripts.reporting.plotting import COLORS

WHEN = {"before": "victim", "after_clean": "after clean unlearning", "after_poison": "after poison unlearning"}


@dataclass(frozen=True)
class UnlearnedActivations:
    """A line for each attack, at the study's first seed: the mean activation of each neuron of the last layer on the
    same images with and without the trigger, before and after both unlearnings. On the diagonal, the trigger changes
    nothing.

    marked: the share of neurons, those that the trigger changes most in the victim, that are followed in color.
    """

    marked: PositiveShare = 0.1

    first_seed = True

    def __call__(self, study: Study, unlearning: Sequence[Measured]) -> Figure:
        shown = panels([(table, about) for table, about in unlearning if len(table)])
        size = (2.3 * len(WHEN) + 0.9, 2.2 * max(1, len(shown)) + 1)
        figure, grid = make_lines(len(shown), len(WHEN), size, sharex="row", sharey="row")
        for line, (title, seeds) in zip(grid, shown.items(), strict=False):
            table, about = seeds[0]
            last = table.filter(pc.is_valid(table["clean_before"]))
            change = np.abs(last["triggered_before"].to_numpy() - last["clean_before"].to_numpy())
            marked = np.isin(np.arange(len(last)), np.argsort(-change)[: max(1, round(self.marked * len(last)))])
            for axis, (when, name) in zip(line, WHEN.items(), strict=True):
                _panel(axis, last, when, marked)
                rates = f"ACC {100 * about['acc'][when]:.0f}, ASR {100 * about['asr'][when]:.0f}"
                axis.set_title(f"{name}\n{rates}" if axis in grid[0] else rates, fontsize=8)
            line[0].set_ylabel(title)
        grid[-1, 1].set_xlabel("mean activation without the trigger")
        return finish(figure, study.title, y="mean activation with the trigger", legend="below")


def _panel(axis: Axes, last: pa.Table, when: str, marked: np.ndarray) -> None:
    clean, triggered = (last[f"{images}_{when}"].to_numpy() for images in ("clean", "triggered"))
    axis.axline((0, 0), slope=1, color="#555555", linewidth=0.8, linestyle="--")
    for chosen, name, color in (
        (~marked, "neuron of the last layer", COLORS[0]),
        (marked, "those that the trigger changes most in the victim", COLORS[4]),
    ):
        axis.plot(clean[chosen], triggered[chosen], "o", color=color, markersize=3, markeredgewidth=0, label=name)
    axis.grid(color="#dddddd", linewidth=0.5)
