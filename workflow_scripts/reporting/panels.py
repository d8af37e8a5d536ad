"""What goes into which panel of a figure, and the grid of panels: only seeds share one."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.evaluation.rows import axes_apart, format_label, group_rows
from workflow_scripts.reporting.aggregate import format_spelling

T = TypeVar("T")
CONDITION = ("attack", "ratio")
"""The axes of an attack's conditions, which a figure may draw within a panel."""
LINE = 22
"""Characters in a line of a label."""


def panels(found: Sequence[T], also: Sequence[str] = (), within: Sequence[str] = ()) -> dict[str, list[T]]:
    """Rows, or what analyses found, by panel and in order: apart in whatever tells their victims apart but for the axes
    that the figure draws `within` a panel, and in the axes of `also`. What else shares a panel differs in its seed
    alone."""
    axes = [*(axis for axis in axes_apart([_facts(item) for item in found]) if axis not in within), *also]
    return group_rows(found, lambda item: "\n".join(_name(_facts(item), axis) for axis in axes))


def condition_axes(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which of the axes of a condition tell these rows apart."""
    return [axis for axis in axes_apart(found) if axis in CONDITION]


def _name(facts: Mapping[str, Any], axis: str) -> str:
    label = format_label(facts, [axis])
    return f"ratio {label}" if axis == "ratio" else wrap_label(label)


def _facts(item: Any) -> Mapping[str, Any]:
    return item if isinstance(item, Mapping) else item[1]  # type: ignore[no-any-return]


def wrap_label(spelling: str) -> str:
    """A spelling as a label: its name, and below it its hyper-parameters, in lines that leave room for the picture."""
    name, _, fields = format_spelling(spelling).partition(" ")
    return "\n".join([name, *textwrap.wrap(fields, LINE, break_long_words=False)])


def make_grid(
    count: int, width: float, height: float, most: int = 4, margin: tuple[float, float] = (1.2, 0.6), **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels of one size in inches, at most `most` of them in a line."""
    across = min(most, max(1, count))
    down = -(-max(1, count) // across)
    size = (width * across + margin[0], height * down + margin[1])
    figure, grid = plt.subplots(down, across, figsize=size, squeeze=False, **shared)
    for place, axis in enumerate(grid.flat):
        axis.set_visible(place < max(1, count))
        if place + across >= count:  # nothing is below it
            axis.tick_params(labelbottom=True)
    return figure, list(grid.flat[: max(1, count)])


def make_lines(count: int, across: int, size: tuple[float, float], **shared: Any) -> tuple[Figure, np.ndarray]:
    """A figure with a line of panels for each of `count`: the axes (count, across)."""
    return plt.subplots(max(1, count), across, figsize=size, squeeze=False, **shared)


def finish(
    figure: Figure,
    title: str,
    x: str | None = None,
    y: str | None = None,
    legend: Literal["right", "below", None] = None,
    note: str = "",
) -> Figure:
    """The figure with its title, whole, the labels of all panels, and one legend for them."""
    if x and legend == "below":  # a label of the whole figure would lie on the legend
        lowest = [axis for axis in figure.axes if axis.get_visible() and axis.get_subplotspec().is_last_row()]  # type: ignore[union-attr]
        for axis in lowest:
            axis.set_xlabel(x, fontsize=8)
    elif x:
        figure.supxlabel(x, fontsize=9)
    if y:
        figure.supylabel(y, fontsize=9)
    drawn = {str(h.get_label()): h for axis in figure.axes for h in axis.get_legend_handles_labels()[0]}
    handles = list(drawn.values())
    if legend == "right":
        figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8)
    elif legend == "below":
        across = max(1, int(figure.get_figwidth() / 1.6))
        figure.legend(handles=handles, loc="outside lower center", ncols=across, frameon=False, fontsize=8)
    room = int(10 * figure.get_figwidth())
    figure.suptitle("\n".join(line for text in (title, note) if text for line in textwrap.wrap(text, room)))
    return figure
