"""Whether scores of neurons agree with each other, and with what the trigger changes."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from scipy.stats import rankdata

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.figures._scored import drop_duplicate_orders, victim_of
from workflow_scripts.reporting.panels import finish, make_grid, panels, wrap_label
from workflow_scripts.reporting.plotting import COLORS

Score = dict[tuple[str, int], float]
"""Each neuron, layer and unit, with its rank, 1 the first."""
TAC = "TAC"
SIGNED = LinearSegmentedColormap.from_list("signed", [COLORS[4], "white", COLORS[0]])


@dataclass(frozen=True)
class Agreement:
    """A panel for each attack: Spearman's rank correlation of each pair of scores, TAC among them, on the same victim.

    It is taken within each layer that both score and averaged over them, each counted by its neurons: across layers it
    would compare layers. Means over seeds; a dash where two scores share no layer, or one is constant.
    """

    def __call__(self, study: Study, neuron_scores: Sequence[Measured]) -> Figure:
        found = drop_duplicate_orders(neuron_scores)
        names = [TAC, *dict.fromkeys(about["defense"] for _, about in found)]
        labels = [wrap_label(name) for name in names]
        margin = 0.08 * max(len(line) for label in labels for line in label.splitlines())
        side = max(1.2, 0.45 * len(names))
        shown = panels(found)
        most = 2 if len(names) > 4 else 4
        figure, grid = make_grid(len(shown), side + 0.3, side + 0.6, most, (margin, margin), sharex=True, sharey=True)
        for axis, (title, seeds) in zip(grid, shown.items(), strict=False):
            _panel(axis, _mean(seeds, names), labels)
            axis.set_title(title)
        return finish(figure, study.title)


def _mean(found: Sequence[Measured], names: Sequence[str]) -> np.ndarray:
    """(names, names): the mean over seeds of the correlations of each pair."""
    seeds: dict[tuple[str, ...], dict[str, Score]] = {}
    for table, about in found:
        scores = seeds.setdefault(victim_of(about), {TAC: {}})
        places = list(zip(table["layer"].to_pylist(), table["unit"].to_pylist(), strict=True))
        scores[about["defense"]] = dict(zip(places, table["rank"].to_pylist(), strict=True))
        scores[TAC] |= dict(zip(places, table["tac"].to_numpy() * -1, strict=True))
    values = np.full((len(names), len(names)), np.nan)
    for (i, first), (j, second) in itertools.combinations_with_replacement(enumerate(names), 2):
        pairs = [correlation(own[first], own[second]) for own in seeds.values() if {first, second} <= own.keys()]
        known = [value for value in pairs if np.isfinite(value)]
        values[i, j] = values[j, i] = np.mean(known) if known else np.nan
    return values


def correlation(first: Mapping[tuple[str, int], float], second: Mapping[tuple[str, int], float]) -> float:
    """The mean over layers of Spearman's rank correlation of the neurons that both have, by their number; NaN where no
    layer has two of them that differ."""
    layers: dict[str, list[tuple[float, float]]] = {}
    for layer, unit in (place for place in first if place in second):
        layers.setdefault(layer, []).append((first[layer, unit], second[layer, unit]))
    total = weight = 0.0
    for pairs in layers.values():
        ranks = np.stack([rankdata(values) for values in zip(*pairs, strict=True)])
        if (ranks.std(1) > 0).all():
            total += len(pairs) * np.corrcoef(ranks)[0, 1]
            weight += len(pairs)
    return total / weight if weight else float("nan")


def _panel(axis: Axes, values: np.ndarray, labels: Sequence[str]) -> None:
    axis.imshow(values, cmap=SIGNED, vmin=-1, vmax=1, aspect="auto")
    axis.set_facecolor("#eeeeee")
    for (i, j), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")
        axis.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if abs(value) > 0.7 else "black")
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
