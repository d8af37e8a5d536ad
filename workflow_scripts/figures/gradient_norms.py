"""Whether the neurons of a backdoored model are more active than those of the clean one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.plotting import COLORS, wrap_label

Measured = tuple[pa.Table, dict[str, Any]]
MODELS = {"victim": ("backdoored model", COLORS[4]), "clean": ("clean model", COLORS[0])}


@dataclass(frozen=True)
class GradientNorms:
    """For each attack: the gradient norms of the last layer's neurons in both models, each in ascending order, a line
    for each seed.

    In words, means over seeds: the share of neurons, of that layer and of all, that are more active in the backdoored
    model; how many times larger the layer's median norm is there, and the loss, which alone makes gradients larger.
    """

    def __call__(self, study: Study, gradient_norms: Sequence[Measured]) -> Figure:
        attacks: dict[str, list[Measured]] = {}
        for table, about in gradient_norms:
            if about["attack"] != "none":
                attacks.setdefault(about["attack"], []).append((table, about))
        count = max(1, len(attacks))
        columns = min(4, count)
        lines = -(-count // columns)
        figure, grid = plt.subplots(
            lines, columns, figsize=(2.4 * columns + 1.8, 2.8 * lines + 0.6), sharex=True, sharey=True, squeeze=False
        )
        for axis, (attack, seeds) in zip(grid.flat, attacks.items(), strict=False):
            _panel(axis, [table for table, _ in seeds])
            axis.set_title(f"{wrap_label(attack)}\n{_words([about for _, about in seeds])}", fontsize=8)
        for axis in grid.flat[len(attacks) :]:
            axis.set_visible(False)
        figure.supxlabel("neurons of the last layer, least active first (%)", fontsize=9)
        figure.supylabel("gradient norm (L1)", fontsize=9)
        handles = {h.get_label(): h for axis in grid.flat for h in axis.get_legend_handles_labels()[0]}
        figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=8)
        figure.suptitle(study.title)
        return figure


def _panel(axis: Axes, seeds: Sequence[pa.Table]) -> None:
    for table in seeds:
        layers = table["layer"].to_numpy()
        for key, (name, color) in MODELS.items():
            norms = np.sort(table[key].to_numpy()[layers == layers[-1]])
            places = 100 * (np.arange(len(norms)) + 0.5) / len(norms)
            axis.plot(places, norms, color=color, linewidth=1.2, alpha=0.8, label=name)
    axis.set_yscale("log")
    axis.set_xlim(0, 100)
    axis.set_xticks([0, 50, 100])
    axis.grid(color="#dddddd", linewidth=0.5)


def _words(abouts: Sequence[dict[str, Any]]) -> str:
    last, whole = (100 * np.mean([about[scope]["larger"] for about in abouts]) for scope in ("last", "all"))
    norm = np.mean([about["last"]["victim"] / about["last"]["clean"] for about in abouts])
    loss = np.mean([about["loss"]["victim"] / about["loss"]["clean"] for about in abouts])
    return f"larger in {last:.0f} % (all layers: {whole:.0f} %)\nmedian ×{norm:.1f}, loss ×{loss:.1f}"
