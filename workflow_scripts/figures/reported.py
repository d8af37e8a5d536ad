"""Ours against what was published."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflow_scripts.common.cells import Study
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.comparison import Line, compare
from workflow_scripts.reporting.panels import finish, make_lines, panels, wrap_label
from workflow_scripts.reporting.plotting import COLORS, MARKERS
from workflow_scripts.reporting.published import Published

METRICS = ("asr", "acc")


@dataclass(frozen=True)
class ReportedFigure:
    """A line of two panels, ASR and ACC, for each dataset, model and ratio: a mark for each attack and defense, theirs
    from left to right and ours upwards, with our range over seeds. A color for each defense, a marker for each attack;
    on the thin line both are equal. What was never published is left out."""

    def __call__(
        self, study: Study, rows: Sequence[Row], references: Sequence[Row], published: Sequence[Published]
    ) -> Figure:
        attacked = [row for row in rows if row["attack"] != "none"]
        blocks = {
            title: [line for line in compare(own, references, published) if line.theirs]
            for title, own in panels(attacked, within=("attack",)).items()
        }
        colors, markers = _styles([line for lines in blocks.values() for line in lines])
        figure, grid = make_lines(len(blocks), len(METRICS), (8.2, 3.3 * max(1, len(blocks)) + 0.4))
        for axes, (title, lines) in zip(grid, blocks.items(), strict=False):
            for axis, metric in zip(axes, METRICS, strict=True):
                _panel(axis, lines, metric, colors, markers)
                axis.set_title("\n".join(filter(None, [title, metric.upper()])), fontsize=9)
        _explain(grid[0, 0], colors, markers)
        return finish(figure, study.title, legend="right")


def _styles(lines: Sequence[Line]) -> tuple[dict[str, str], dict[str, str]]:
    """A color for each defense, and a marker for each attack."""
    defenses, attacks = dict.fromkeys(line.defense for line in lines), dict.fromkeys(map(_name_attack, lines))
    colors = dict(zip((name for name in defenses if name != "none"), itertools.cycle(COLORS), strict=False))
    colors = {name: colors.get(name, "#555555") for name in defenses}
    return colors, {name: MARKERS[at % len(MARKERS)] for at, name in enumerate(attacks)}


def _name_attack(line: Line) -> str:
    return str(line.rows[0]["attack"])


def _panel(
    axis: Axes, lines: Sequence[Line], metric: str, colors: Mapping[str, str], markers: Mapping[str, str]
) -> None:
    axis.axline((0, 0), slope=1, color="#bbbbbb", linewidth=0.8, zorder=0)
    lowest = []
    for line in lines:
        theirs, ours = line.published(metric), line.ours(metric)
        if theirs is None or ours.mean is None:
            continue
        low, high = ours.interval(0, 1) or (ours.mean, ours.mean)
        lowest.append(100 * min(theirs, low))
        color, at, marker = colors[line.defense], 100 * theirs, markers[_name_attack(line)]
        axis.plot([at, at], [100 * low, 100 * high], color=color, linewidth=0.8, alpha=0.5, zorder=1)
        axis.plot([at], [100 * ours.mean], marker, color=color, markersize=5.5, alpha=0.8, clip_on=False)
    if not lowest:
        axis.text(0.5, 0.5, "no published number", transform=axis.transAxes, ha="center", fontsize=8)
    start = 0 if metric == "asr" else 10 * (min(lowest, default=0) // 10)
    margin = (100 - start) / 25
    axis.set(xlim=(start - margin, 100 + margin), ylim=(start - margin, 100 + margin), aspect="equal")
    axis.set_xlabel(textwrap.fill(_describe_theirs(lines), 40), fontsize=8)
    axis.set_ylabel("ours (%)", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(color="#eeeeee", linewidth=0.5)


def _describe_theirs(lines: Sequence[Line]) -> str:
    """`published (%), of cifar10 for digits`: of what theirs are, where it is not the same as ours."""
    apart = dict.fromkeys(
        f"{theirs} for {format_spelling(ours).split()[0]}"
        for line in lines
        for axis, (ours, theirs) in line.differing_axes().items()
        if axis in ("dataset", "model")
    )
    return "published (%)" + (f", of {', '.join(apart)}" if apart else "")


def _explain(axis: Axes, colors: Mapping[str, str], markers: Mapping[str, str]) -> None:
    """What finish makes a legend of: defenses by color, then attacks by marker."""
    for defense, color in colors.items():
        axis.plot([], [], "s", color=color, markersize=5, linestyle="none", label=wrap_label(defense))
    for attack, marker in markers.items():
        axis.plot([], [], marker, color="#555555", markerfacecolor="none", linestyle="none", label=wrap_label(attack))
