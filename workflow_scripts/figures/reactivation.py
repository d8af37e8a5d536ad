"""What a few poisoned images bring back of a backdoor that a defense removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common import spellings
from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.rows import group_rows
from workflow_scripts.reporting.panels import finish, make_lines, panels, wrap_label
from workflow_scripts.reporting.plotting import COLORS, MARKERS

LINES = {"asr": "ASR (%)", "acc": "ACC (%)"}


@dataclass(frozen=True)
class Reactivation:
    """Above ASR and below ACC, a panel for each attack: of each defended model as it is, and after fine-tuning on clean
    images and so many poisoned ones; means over seeds, with their range. Dashed are controls: a clean model so treated
    shows what the images themselves teach."""

    def __call__(self, study: Study, reactivation: Sequence[Measured]) -> Figure:
        found = [(table, about) for table, about in reactivation if len(table)]
        shown, names = panels(found), list(dict.fromkeys(about["defense"] for _, about in found))
        columns = max(1, len(shown))
        figure, grid = make_lines(len(LINES), columns, (2.2 * columns + 1.8, 4.6), sharex="col", sharey="row")
        for at, (title, own) in enumerate(shown.items()):
            grid[0, at].set_title(title, fontsize=9)
            for axis, metric in zip(grid[:, at], LINES, strict=True):
                _panel(axis, own, metric, names)
        for axis, label in zip(grid[:, 0], LINES.values(), strict=True):
            axis.set_ylabel(label, fontsize=8)
        return finish(figure, study.title, "poisoned images", legend="right")


def _panel(axis: Axes, found: Sequence[Measured], metric: str, names: Sequence[str]) -> None:
    counts = sorted({count for table, _ in found for count in table["poisoned"].to_pylist() if count is not None})
    places = dict(zip([None, *counts], range(len(counts) + 1), strict=True))
    for defense, seeds in group_rows(found, lambda item: item[1]["defense"]).items():
        at, control = names.index(defense), spellings.is_control(defense) or defense == "none"
        style: dict[str, Any] = {"color": COLORS[at % len(COLORS)], "linestyle": "--" if control else "-"}
        values = [_values([table for table, _ in seeds], count, metric) for count in places]
        known = [(place, 100 * np.array(own)) for place, own in zip(places.values(), values, strict=True) if own]
        means, marker = [own.mean() for _, own in known], MARKERS[at // len(COLORS) % len(MARKERS)]
        axis.plot([x for x, _ in known], means, marker, markersize=3, label=wrap_label(defense), **style)
        axis.vlines([x for x, _ in known], *zip(*((o.min(), o.max()) for _, o in known), strict=True),
                    color=style["color"], linewidth=0.6, alpha=0.5)  # fmt: skip
    axis.set_xticks(list(places.values()), ["as it is", *map(str, counts)], fontsize=7)
    axis.tick_params(axis="x", rotation=60)
    axis.set_ylim(-3, 103)
    axis.grid(color="#eeeeee", linewidth=0.5)


def _values(tables: Sequence[pa.Table], count: int | None, metric: str) -> list[float]:
    rows = [row for table in tables for row in table.to_pylist() if row["poisoned"] == count]
    return [row[metric] for row in rows if row[metric] is not None]
