"""How many of the neurons that a trigger changes most a defense's scores find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.figures._scored import Measured, drop_duplicate_orders
from workflow_scripts.reporting.plotting import COLORS, wrap_label

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
        attacks = list(dict.fromkeys(about["attack"] for _, about in found))
        defenses = list(dict.fromkeys(about["defense"] for _, about in found))
        count = max(1, len(attacks))
        columns = min(4, count)
        lines = 2 * -(-count // columns)
        figure, grid = plt.subplots(
            lines, columns, figsize=(2.2 * columns + 1.9, 2.3 * lines + 0.6), sharex=True, sharey=True, squeeze=False
        )
        for axis in grid.flat[2 * columns * (lines // 2 - 1) :]:
            axis.set_visible(False)
        for place, attack in enumerate(attacks):
            for scope, name in enumerate(("last layer", "all layers")):
                axis = grid[2 * (place // columns) + scope, place % columns]
                axis.set_visible(True)
                _panel(axis, _seeds(found, attack, whole=bool(scope)), defenses)
                axis.set_title(f"{wrap_label(attack)}\n{name}", fontsize=9)
        figure.supxlabel("neuron ratio (%)", fontsize=9)
        figure.supylabel("coverage of the top neurons by TAC (%)", fontsize=9)
        handles = {h.get_label(): h for axis in grid.flat for h in axis.get_legend_handles_labels()[0]}
        figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=8)
        figure.suptitle(study.title)
        return figure


def _seeds(found: Sequence[Measured], attack: str, whole: bool) -> dict[str, list[Ranks]]:
    """Of each defense, the ranks at each seed: of the last layer, or of all where the defense scores more than one."""
    seeds: dict[str, list[Ranks]] = {}
    for table, about in found:
        layers = table["layer"].to_numpy().astype(str)
        last = layers == about["last"]
        ranks = np.stack([table[key].to_numpy() for key in ("rank", "tac_rank")])
        if about["attack"] == attack and last.any() and not (whole and last.all()):
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
