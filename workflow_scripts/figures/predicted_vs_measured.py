"""EigenGuard's theory: predicted against measured energy of the trigger at which a prediction flips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.plotting import COLORS, MARKERS

Measured = tuple[pa.Table, dict[str, Any]]
NAMES = {"off": "no filter", "damped": "tail damped", "unchanged": "tail unchanged"}


@dataclass(frozen=True)
class PredictedVsMeasured:
    """A point for each share, weight of the trigger and draw, larger for a larger share; what never flips lies
    beyond the dotted lines, points upon points."""

    def __call__(self, study: Study, flip_energy: Sequence[Measured]) -> Figure:
        rows = [row for table, _ in flip_energy for row in table.to_pylist()]
        never, low = 2.5 * flip_energy[0][1]["highest"], 0.5 * flip_energy[0][1]["lowest"]
        figure, axes = plt.subplots(1, len(NAMES), figsize=(9, 3.7), sharex=True, sharey=True)
        for place, (axis, (arm, title)) in enumerate(zip(axes, NAMES.items(), strict=True)):
            own = [row for row in rows if row["arm"] == arm]
            points = [[row[key] or never for key in ("predicted", "measured")] for row in own]
            predicted, measured = np.array(points).T
            sizes = [10 + 60 * row["share"] for row in own]
            axis.scatter(
                predicted, measured, sizes, color=COLORS[place], marker=MARKERS[place], alpha=0.5, linewidths=0
            )
            count = int(((predicted == never) & (measured == never)).sum())
            text = f"{count} of {len(own)} never, as predicted"
            axis.text(0.03, 0.79, text, transform=axis.transAxes, fontsize=8)
            axis.plot([low, never], [low, never], color="#555555", linewidth=0.8, zorder=0)
            axis.axline((never / 1.6, 1), (never / 1.6, 2), color="#aaaaaa", linewidth=0.8, linestyle=":")
            axis.axline((1, never / 1.6), (2, never / 1.6), color="#aaaaaa", linewidth=0.8, linestyle=":")
            axis.set_title(title)
            axis.set_aspect("equal")
        axes[0].set(xscale="log", yscale="log", xlim=(low, 1.6 * never), ylim=(low, 1.6 * never))
        ticks = [0.1, 1, 10, never]
        axes[0].set_xticks(ticks, ["0.1", "1", "10", "never"])
        axes[0].set_yticks(ticks, ["0.1", "1", "10", "never"])
        axes[0].minorticks_off()
        figure.supxlabel(
            "predicted amplitude of the trigger at which a prediction flips (its energy is the square)", fontsize=9
        )
        figure.supylabel("measured", fontsize=9)
        figure.suptitle(study.title)
        return figure
