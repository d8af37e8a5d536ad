"""t-SNE of the top and of the remaining singular directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.plotting import wrap_label

Measured = tuple[pa.Table, dict[str, Any]]
PARTS = {"top": "top {k} directions", "rest": "remaining directions"}


@dataclass(frozen=True)
class Embedding:
    """For each attack, at the study's first seed: two panels, coloured by true class, triggered images as crosses."""

    first_seed = True

    def __call__(self, study: Study, singular_embedding: Sequence[Measured]) -> Figure:
        shown: dict[str, Measured] = {}
        for table, about in singular_embedding:
            shown.setdefault(about["attack"], (table, about))
        lines = -(-len(shown) // 2)
        width = 4 if len(shown) > 1 else 2
        figure, grid = plt.subplots(lines, width, figsize=(2.3 * width + 1.4, 2.4 * lines + 0.6), squeeze=False)
        for axis in grid.flat:
            axis.axis("off")
        for place, (attack, (table, about)) in enumerate(shown.items()):
            for offset, (part, title) in enumerate(PARTS.items()):
                axis = grid.flat[2 * place + offset]
                _panel(axis, table.filter(pc.equal(table["part"], part)), about["classes"])
                axis.set_title(f"{wrap_label(attack)}\n{title.format(k=about['k'])}", fontsize=8)
        handles = {h.get_label(): h for axis in grid.flat for h in axis.get_legend_handles_labels()[0]}
        figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=8)
        figure.suptitle(study.title)
        return figure


def _panel(axis: Axes, table: pa.Table, classes: Sequence[str]) -> None:
    axis.axis("on")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(True)
    x, y, label, triggered = (table[key].to_numpy() for key in ("x", "y", "label", "triggered"))
    colors = plt.get_cmap("tab10" if len(classes) <= 10 else "turbo").resampled(len(classes))
    for place, name in enumerate(classes):
        chosen = (label == place) & ~triggered
        named = name if len(classes) <= 20 else None  # more would leave no room for the picture
        axis.plot(x[chosen], y[chosen], "o", color=colors(place), markersize=2.5, alpha=0.7, label=named)
    for place in range(len(classes)):
        chosen = (label == place) & triggered
        axis.plot(x[chosen], y[chosen], "x", color=colors(place), markersize=4.5, markeredgewidth=1.1)
    if triggered.any():
        axis.plot([], [], "x", color="black", markersize=4.5, label="triggered")
