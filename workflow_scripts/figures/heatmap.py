"""ASR and ACC over attack and defense."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.reporting.aggregate import axes_that_differ, format_label, mean_and_interval
from workflow_scripts.reporting.plotting import wrap_label


@dataclass(frozen=True)
class HeatMap:
    """One panel for ASR, one for ACC, dark where it is bad; controls behind a gap; means over seeds."""

    def __call__(self, study: Study, rows: Sequence[Row]) -> Figure:
        lines, columns = axes_that_differ(rows, "dataset", "attack"), axes_that_differ(rows, "model", "defense")
        attacks = list(dict.fromkeys(format_label(row, lines) for row in rows))
        defenses = list(dict.fromkeys(format_label(row, columns) for row in sorted(rows, key=lambda r: r["control"])))
        own = sum(not control for control in {format_label(r, columns): r["control"] for r in rows}.values())
        below = max(len(line) for defense in defenses for line in wrap_label(defense).splitlines())
        size = (2 + 1.0 * len(defenses), 1 + 0.42 * len(attacks) + 0.08 * below)
        figure, axes = plt.subplots(1, 2, figsize=size, sharey=True)
        for axis, metric, title in zip(
            axes, ("asr", "acc"), ("ASR (%), low is good", "ACC (%), high is good"), strict=True
        ):
            values = np.full((len(attacks), len(defenses)), np.nan)
            for i, attack in enumerate(attacks):
                for j, defense in enumerate(defenses):
                    cells = [
                        r for r in rows if format_label(r, lines) == attack and format_label(r, columns) == defense
                    ]
                    mean = mean_and_interval([r[metric] for r in cells if r[metric] is not None])[0]
                    values[i, j] = np.nan if mean is None else 100 * mean
            _panel(axis, values, own, high_is_bad=metric == "asr")
            axis.set_title(title)
            axis.set_xticks(range(len(defenses)), [wrap_label(d) for d in defenses], rotation=90, fontsize=8)
            axis.set_yticks(range(len(attacks)), [wrap_label(a) for a in attacks])
            axis.set_xlabel("defense | control" if own < len(defenses) else "defense")
        axes[0].set_ylabel("attack")
        figure.suptitle(study.title)
        return figure


def _panel(axis: Axes, values: np.ndarray, own: int, high_is_bad: bool) -> None:
    axis.imshow(values, cmap="cividis_r" if high_is_bad else "cividis", vmin=0, vmax=100, aspect="auto")
    axis.set_facecolor("#eeeeee")
    for (i, j), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.1f}"
        dark = value > 60 if high_is_bad else value < 40
        axis.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    if own < values.shape[1]:
        axis.axvline(own - 0.5, color="white", linewidth=4)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
