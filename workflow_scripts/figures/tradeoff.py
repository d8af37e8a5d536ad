"""The plane of ACC and ASR: what a defense removes, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import format_label, group_rows
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.panels import CONDITION, condition_axes, finish, make_grid, panels
from workflow_scripts.reporting.plotting import COLORS, MARKERS

TICKS = (0, 40, 60, 70, 80, 82, 84, 86, 88, 90, 92, 94, 96, 98, 99, 100)
"""Accuracies that an axis may name, in percent."""
NARROWEST = 0.25
"""Of the axis of ACC: closer accuracies than a factor of 1.8 in errors are drawn close."""


@dataclass(frozen=True)
class TradeOff:
    """A panel for each defense, of each dataset and model, controls last and on gray. In it a mark for each attack and
    ratio, the mean over seeds; the single seeds as dots; a thin line from the undefended model, and as a cross the
    clean model's answers to the same trigger: the floor, what a model without a backdoor gives.

    The ACC axis goes over what is there, stretched towards 100: its distances are those of log(100.5 - ACC).
    """

    def __call__(self, study: Study, rows: Sequence[Row], references: Sequence[Row]) -> Figure:
        attacked, known = ([row for row in part if row["asr"] is not None] for part in (rows, references))
        axes = condition_axes(attacked)
        blocks = panels(attacked, within=CONDITION).values()
        ordered = [row for block in blocks for row in sorted(block, key=lambda row: row["control"])]
        shown, style = panels(ordered, also=["defense"], within=CONDITION), _styles(attacked, axes)
        accuracies = [100 * row["acc"] for row in (*attacked, *known)]
        most = 5 if len(shown) <= 20 else 8
        figure, grid = make_grid(len(shown), 1.75, 1.9, most, (0.6, 1.3), sharex=True, sharey=True)
        for axis, (title, own) in zip(grid, shown.items(), strict=False):
            same = [row for row in known if all(row[key] == own[0][key] for key in ("dataset", "model"))]
            _panel(axis, own, same, style, axes)
            _scale(axis, accuracies)
            axis.set_title(title, fontsize=8, style="italic" if own[0]["control"] else "normal")
        return finish(figure, study.title, "ACC (%)", "ASR (%)", legend="below")


def _styles(rows: Sequence[Row], axes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A color for each attack, a marker for each ratio where there are several, else for each attack."""
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    ratios = sorted({row["ratio"] for row in rows}, reverse=True)
    found = {}
    for row in rows:
        place = attacks.index(row["attack"])
        turn = ratios.index(row["ratio"]) if "ratio" in axes else place
        found[format_label(row, axes)] = COLORS[place % len(COLORS)], MARKERS[turn % len(MARKERS)]
    return found


def _panel(
    axis: Axes, rows: Sequence[Row], known: Sequence[Row], style: dict[str, tuple[str, str]], axes: Sequence[str]
) -> None:
    before, floor = (
        group_rows([row for row in known if row["defense"] == name], lambda row: format_label(row, axes))
        for name in ("none", "clean")
    )
    for name, seeds in group_rows(rows, lambda row: format_label(row, axes)).items():
        color, marker = style[name]
        (acc, asr), clean, start = _mean(seeds), floor.get(name), before.get(name)
        if start:
            axis.plot(*zip(_mean(start), (acc, asr), strict=True), "-", color=color, linewidth=0.6, alpha=0.6, zorder=1)
        if clean:
            axis.plot(*_mean(clean), "x", color=color, markersize=5, markeredgewidth=1, clip_on=False, zorder=2)
        for row in seeds:
            axis.plot(100 * row["acc"], 100 * row["asr"], ".", color=color, markersize=3.5, alpha=0.7, clip_on=False)
        empty = any("not_implanted" in row["checks"] for row in seeds)
        face = "white" if empty else color
        axis.plot(
            [acc], [asr], marker, color=color, markerfacecolor=face, markersize=6.5, alpha=0.85, clip_on=False,
            label=format_spelling(name), linestyle="none",
        )  # fmt: skip
    axis.plot([], [], "x", color="#555555", markersize=5, linestyle="none", label="clean model")
    if any("not_implanted" in row["checks"] for row in rows):
        axis.plot([], [], "o", color="#555555", markerfacecolor="white", linestyle="none", label="not implanted")
    if rows[0]["control"]:
        axis.set_facecolor("#f0f0f0")


def _scale(axis: Axes, accuracies: Sequence[float]) -> None:
    """An axis of ASR, and one of ACC that holds these percentages and names as many of `TICKS` as leave each other
    room."""
    left, right = _stretch(np.array([min(accuracies), max(accuracies)]))
    margin = max(0.08 * (right - left), 0.5 * (NARROWEST - right + left))
    ends = np.clip([left - margin, right + margin], *_stretch(np.array([0, 100.2])))
    shown: list[float] = []
    for tick, place in zip(TICKS, _stretch(np.array(TICKS)), strict=True):
        if ends[0] <= place <= ends[1] and np.all(place - _stretch(np.array(shown)) > 0.16 * (ends[1] - ends[0])):
            shown.append(tick)
    axis.set_xscale("function", functions=(_stretch, _shrink))
    axis.set_xlim(*_shrink(ends))
    axis.set_xticks(shown)
    axis.set_ylim(-5, 105)
    axis.set_yticks([0, 50, 100])
    axis.tick_params(labelsize=7)
    axis.grid(color="#dddddd", linewidth=0.5)


def _mean(rows: Sequence[Row]) -> tuple[float, float]:
    acc, asr = (100 * sum(row[metric] for row in rows) / len(rows) for metric in ("acc", "asr"))
    return acc, asr


def _stretch(acc: np.ndarray) -> np.ndarray:
    return -np.log10(100.5 - acc)


def _shrink(place: np.ndarray) -> np.ndarray:
    return 100.5 - 10.0**-place
