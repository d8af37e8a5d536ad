"""ASR and ACC over defense and attack."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import format_label, group_rows
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.estimates import estimate
from workflow_scripts.reporting.panels import CONDITION, condition_axes, finish, panels, wrap_label

LETTER = 0.08
"""Inches that a letter of a label takes."""
METRICS = {"asr": "ASR (%), low is good", "acc": "ACC (%), high is good"}


@dataclass(frozen=True)
class HeatMap:
    """A line for each defense, a column for each attack and ratio, a block for each dataset and model: ASR and ACC,
    dark where it is bad; controls below a gap, in italics. Means over seeds; `N` where at one of them no
    backdoor was implanted.
    """

    def __call__(self, study: Study, rows: Sequence[Row]) -> Figure:
        axes = condition_axes(rows)
        blocks, attacks = panels(rows, within=CONDITION), group_rows(rows, lambda row: format_label(row, axes))
        heights = [len(group_rows(block, lambda row: format_label(row, ["defense"]))) for block in blocks.values()]
        stacked = len(attacks) > 16
        across, down = (1, 2) if stacked else (2, 1)
        size = (
            3.4 + across * max(2.2, 0.56 * len(attacks)),
            1.6 + down * (0.27 * sum(heights) + (0.5 + LETTER * _upright_letters(attacks)) * len(heights)),
        )
        ratios = [height + 1.5 for _ in range(down) for height in heights]
        figure, grid = plt.subplots(
            down * len(blocks),
            across,
            figsize=size,
            squeeze=False,
            sharey="row",
            gridspec_kw={"height_ratios": ratios},
        )
        for i, (name, block) in enumerate(blocks.items()):
            for j, (metric, title) in enumerate(METRICS.items()):
                axis = grid[i + j * len(blocks), 0] if stacked else grid[i, j]
                _panel(axis, block, metric, list(attacks), axes)
                axis.set_title("\n".join([name, title] if name and i == 0 else [name or title]), fontsize=9)
        empty = any("not_implanted" in row["checks"] for row in rows)
        return finish(figure, study.title, note="N: at some seed no backdoor was implanted" if empty else "")


def _panel(axis: Axes, rows: Sequence[Row], metric: str, attacks: Sequence[str], axes: Sequence[str]) -> None:
    controls = {format_label(row, ["defense"]): row["control"] for row in rows}
    defenses = sorted(controls, key=lambda name: controls[name])
    places = group_rows(rows, lambda row: (format_label(row, ["defense"]), format_label(row, axes)))
    values = np.full((len(defenses), len(attacks)), np.nan)
    high_is_bad = metric == "asr"
    for (defense, attack), cells in places.items():
        i, j = defenses.index(defense), attacks.index(attack)
        mean = estimate([row[metric] for row in cells if row[metric] is not None]).mean
        values[i, j] = np.nan if mean is None else 100 * mean
        text = "–" if mean is None else f"{100 * mean:.0f}" if high_is_bad else f"{100 * mean:.1f}"
        if high_is_bad and any("not_implanted" in row["checks"] for row in cells):
            text += " N"
        dark = values[i, j] > 60 if high_is_bad else values[i, j] < 40
        axis.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    axis.imshow(values, cmap="cividis_r" if high_is_bad else "cividis", vmin=0, vmax=100, aspect="auto")
    axis.set_facecolor("#eeeeee")
    if any(controls.values()) and not all(controls.values()):
        axis.axhline(sum(not control for control in controls.values()) - 0.5, color="white", linewidth=5)
    labels = [wrap_label(attack) for attack in attacks]
    axis.set_xticks(range(len(attacks)), labels, rotation=90 if _upright_letters(attacks) else 0, fontsize=8)
    axis.set_yticks(range(len(defenses)), [format_spelling(name) for name in defenses], fontsize=8)
    for label, name in zip(axis.get_yticklabels(), defenses, strict=False):
        label.set_fontstyle("italic" if controls[name] else "normal")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _upright_letters(attacks: Iterable[str]) -> int:
    """How many letters the longest label has that stands upright below its column; 0 where all labels lie."""
    longest = max(len(line) for attack in attacks for line in wrap_label(attack).splitlines())
    return longest if longest > 8 else 0
