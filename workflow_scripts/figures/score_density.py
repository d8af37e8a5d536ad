"""The distribution of a defense's unit scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.panels import finish, make_lines, panels
from workflow_scripts.reporting.plotting import COLORS
from workflow_scripts.units.thresholds import density


@dataclass(frozen=True)
class ScoreDensity:
    """At the study's first seed, a line of panels for each attack and defense that scores units, a panel for each
    layer: the Gaussian kernel density of log10 of the scores, a tick for each unit, those that were pruned above the
    others and in another color, and the threshold where the defense logs one for each layer. Units whose score has no
    logarithm are counted in the corner.
    """

    first_seed = True

    def __call__(self, study: Study, unit_scores: Sequence[Measured]) -> Figure:
        scored = panels([(table, about) for table, about in unit_scores if len(table)], also=["defense"])
        first = {title: seeds[0] for title, seeds in scored.items()}
        columns = max([1, *(len(table["layer"].unique()) for table, _ in first.values())])
        size = (1.5 + 2.4 * columns, 0.7 + 1.6 * max(1, len(first)))
        figure, grid = make_lines(len(first), columns, size, sharey="row")
        for axis in grid.flat:
            axis.axis("off")
        for line, (title, (table, about)) in zip(grid, first.items(), strict=False):
            for axis, layer in zip(line, table["layer"].unique().to_pylist(), strict=False):
                rows = [row for row in table.to_pylist() if row["layer"] == layer]
                _panel(axis, rows, about["thresholds"].get(layer))
                axis.set_title(layer, fontsize=8)
            line[0].text(-0.18, 0.5, title, transform=line[0].transAxes, ha="right", va="center", fontsize=8)
        return finish(figure, f"Unit scores: {study.title}", "log10 of the score")


def _panel(axis: Axes, rows: Sequence[dict[str, Any]], threshold: float | None) -> None:
    axis.axis("on")
    axis.set_yticks([])
    shown = [row for row in rows if row["score"] > 0]
    scores = np.log10([row["score"] for row in shown])
    pruned = np.array([row["pruned"] for row in shown], bool)
    top = 1.0
    if len(np.unique(scores)) > 1:
        at = np.linspace(scores.min() - 0.1, scores.max() + 0.1, 300)
        height = density(torch.from_numpy(scores), torch.from_numpy(at)).numpy()
        axis.fill_between(at, height, color=COLORS[0], alpha=0.35, linewidth=0)
        top = float(height.max())
    axis.plot(scores[~pruned], np.full((~pruned).sum(), -0.08 * top), "|", color=COLORS[0], markersize=5)
    axis.plot(scores[pruned], np.full(pruned.sum(), -0.04 * top), "|", color=COLORS[4], markersize=5)
    if threshold is not None and 0 < threshold < np.inf:
        axis.axvline(np.log10(threshold), color=COLORS[4], linewidth=1, linestyle="--")
    if len(shown) < len(rows):
        axis.text(0.02, 0.9, f"{len(rows) - len(shown)} left out", transform=axis.transAxes, fontsize=7)
