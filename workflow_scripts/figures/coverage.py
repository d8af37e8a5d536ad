"""How many of the neurons that a trigger changes most a defense's scores find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.figures._scored import drop_duplicate_orders
from workflow_scripts.reporting.panels import finish, make_grid, panels, wrap_label
from workflow_scripts.reporting.plotting import COLORS

Ranks = np.ndarray
"""(2, U): of each neuron its rank by suspicion and by TAC, 1 the first."""
RATIOS = np.arange(1, 51) / 50


@dataclass(frozen=True)
class Coverage:
    """For each attack, over the neuron ratio q: |top q by the defense ∩ top q by TAC| / |top q| (TSBD, figure 4), in
    the layer that makes the features and over all layers that a defense scores. Means over seeds, the seeds as thin
    lines; the diagonal is what a random order covers. Of equal scores each has its share of the places that are left.
    """

    def __call__(self, study: Study, neuron_scores: Sequence[Measured]) -> Figure:
        found = drop_duplicate_orders(neuron_scores)
        defenses = list(dict.fromkeys(about["defense"] for _, about in found))
        shown = panels(found)
        figure, grid = make_grid(2 * len(shown), 2.2, 2.3, margin=(1.9, 0.6), sharex=True, sharey=True)
        places = [(*place, scope) for place in shown.items() for scope in ("last layer", "all layers")]
        for axis, (title, seeds, scope) in zip(grid, places, strict=False):
            _panel(axis, _seeds(seeds, whole=scope == "all layers"), defenses)
            axis.set_title(f"{title}\n{scope}", fontsize=9)
        x, y = "neuron ratio (%)", "coverage of the top neurons by TAC (%)"
        return finish(figure, study.title, x, y, legend="right")


def _seeds(found: Sequence[Measured], whole: bool) -> dict[str, list[Ranks]]:
    """Of each defense, the ranks at each seed: of the last layer, or of all where the defense scores more than one."""
    seeds: dict[str, list[Ranks]] = {}
    for table, about in found:
        layers = table["layer"].to_numpy().astype(str)
        last = layers == about["last"]
        ranks = np.stack([table[key].to_numpy() for key in ("rank", "tac_rank")])
        if last.any() and not (whole and last.all()):
            seeds.setdefault(about["defense"], []).append(ranks if whole else ranks[:, last])
    return seeds


def _panel(axis: Axes, seeds: Mapping[str, Sequence[Ranks]], defenses: Sequence[str]) -> None:
    axis.plot([0, 100], [0, 100], "--", color="#555555", linewidth=1, label="random order")
    for defense, ranks in seeds.items():
        color = COLORS[defenses.index(defense) % len(COLORS)]
        curves = 100 * np.array([[coverage(own[0], own[1], ratio) for ratio in RATIOS] for own in ranks])
        axis.plot(100 * RATIOS, curves.T, color=color, linewidth=0.5, alpha=0.5)
        axis.plot(100 * RATIOS, curves.mean(0), color=color, linewidth=1.6, label=wrap_label(defense))
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 102)
    axis.grid(color="#dddddd", linewidth=0.5)


def coverage(ranks: np.ndarray, reference: np.ndarray, ratio: float) -> float:
    """The share of the top units of `reference` among as many of `ranks`, at least one; both (U,), 1 the first."""
    count = max(1, round(ratio * len(ranks)))
    return float((_top(ranks, count) * _top(reference, count)).sum() / count)


def _top(ranks: np.ndarray, count: int) -> np.ndarray:
    """How far each unit is among the first `count`: 1, 0, or the share of the places left for units of equal rank."""
    limit = np.sort(ranks)[count - 1]
    above, level = ranks < limit, ranks == limit
    return above + level * (count - above.sum()) / level.sum()
