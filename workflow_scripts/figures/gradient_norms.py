"""Whether the neurons of a backdoored model are more active than those of the clean one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.panels import finish, make_grid, panels
from workflow_scripts.reporting.plotting import COLORS

MODELS = {"victim": ("backdoored model", COLORS[4]), "clean": ("clean model", COLORS[0])}


@dataclass(frozen=True)
class GradientNorms:
    """For each attack: the gradient norms of the last layer's neurons in both models, each in ascending order, a line
    for each seed.

    In words, means over seeds: the share of neurons, of that layer and of all, that are more active in the backdoored
    model; how many times larger the layer's median norm is there, and the loss, which alone makes gradients larger.
    """

    def __call__(self, study: Study, gradient_norms: Sequence[Measured]) -> Figure:
        shown = panels([(table, about) for table, about in gradient_norms if about["attack"] != "none"])
        figure, grid = make_grid(len(shown), 2.4, 2.8, margin=(1.8, 0.6), sharex=True, sharey=True)
        for axis, (title, seeds) in zip(grid, shown.items(), strict=False):
            _panel(axis, [table for table, _ in seeds])
            axis.set_title(f"{title}\n{_words([about for _, about in seeds])}", fontsize=8)
        x = "neurons of the last layer, least active first (%)"
        return finish(figure, study.title, x, "gradient norm (L1)", legend="right")


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
