"""t-SNE of the top and of the remaining singular directions."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.panels import finish, make_grid, panels

PARTS = {"top": "top {k} directions", "rest": "remaining directions"}


@dataclass(frozen=True)
class Embedding:
    """For each attack, at the study's first seed: two panels, colored by true class, triggered images as crosses."""

    first_seed = True

    def __call__(self, study: Study, singular_embedding: Sequence[Measured]) -> Figure:
        shown = panels([(table, about) for table, about in singular_embedding if len(table)])
        figure, grid = make_grid(2 * len(shown), 2.3, 2.4, margin=(1.4, 0.6))
        places = [(title, *seeds[0], *part) for title, seeds in shown.items() for part in PARTS.items()]
        for axis, (title, table, about, part, name) in zip(grid, places, strict=False):
            _panel(axis, table.filter(pc.equal(table["part"], part)), about["classes"])
            axis.set_title(f"{title}\n{name.format(k=about['k'])}", fontsize=8)
        return finish(figure, study.title, legend="right")


def _panel(axis: Axes, table: pa.Table, classes: Sequence[str]) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(True)
    x, y, label, triggered = (table[key].to_numpy() for key in ("x", "y", "label", "triggered"))
    colors = plt.get_cmap("tab10" if len(classes) <= 10 else "turbo").resampled(len(classes))
    for place, name in enumerate(classes):
        chosen = (label == place) & ~triggered
        named = f"\u200b{name}" if len(classes) <= 20 else None  # more would leave no room; a name may begin with _
        axis.plot(x[chosen], y[chosen], "o", color=colors(place), markersize=2.5, alpha=0.7, label=named)
    for place in range(len(classes)):
        chosen = (label == place) & triggered
        axis.plot(x[chosen], y[chosen], "x", color=colors(place), markersize=4.5, markeredgewidth=1.1)
    if triggered.any():
        axis.plot([], [], "x", color="black", markersize=4.5, label="triggered")
