"""The table `reported` on pages: numbers, then where theirs are from, then how the methods were set."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from workflow_scripts.common.cells import Table
from workflow_scripts.evaluation.rows import axes_apart, format_label, group_rows
from workflow_scripts.reporting.aggregate import TableCell, format_spelling
from workflow_scripts.reporting.comparison import Line, Otherwise, describe_otherwise
from workflow_scripts.reporting.estimates import Estimate, estimate, format_estimate
from workflow_scripts.reporting.layout import LONGEST, NAMES, WIDEST, Part, cut_groups
from workflow_scripts.reporting.tables import format_place

SIDES = ("theirs", "ours", "difference")


def lay_out_reported(table: Table, lines: Sequence[Line], otherwise: Otherwise) -> list[Part]:
    """The parts: of each of our datasets and models the numbers, as many metrics side by side as fit, cut between
    attacks; then two lists."""
    apart, settings = axes_apart([line.rows[0] for line in lines]), _number_settings(lines)
    block = [axis for axis in apart if axis in ("dataset", "model")]
    label = [axis for axis in apart if axis not in block]
    found = []
    for name, own in group_rows(lines, lambda line: format_label(line.rows[0], block)).items():
        attacks = [format_label(line.rows[0], label) for line in own]
        for cut in cut_groups(attacks, LONGEST):
            for metrics in _split(table.values, WIDEST // len(SIDES)):
                places = [
                    (format_spelling(a), format_spelling(line.defense)) for a, line in zip(attacks, own, strict=True)
                ]
                frame = pd.DataFrame(
                    [
                        [*_format_numbers(line, metrics), settings.get(_describe_setting(line), "–")]
                        for line in own[cut]
                    ],
                    index=pd.MultiIndex.from_tuples(places[cut], names=[" and ".join(label), "defense"]),
                    columns=pd.Index([*(f"{NAMES[metric]} {side}" for metric in metrics for side in SIDES), "setting"]),
                )
                found.append(Part((format_spelling(name),) if name else (), frame, 0, turned=False))
    return [*found, *_list_settings(settings), *_list_methods(lines, otherwise)]


def _split(values: Sequence[str], most: int) -> list[Sequence[str]]:
    return [values[start : start + most] for start in range(0, len(values), most)]


def _format_numbers(line: Line, metrics: Sequence[str]) -> list[str]:
    found = []
    for metric in metrics:
        failed = Counter(check for row in line.rows for check in row["checks"])
        ours = TableCell("", "", "", metric, line.ours(metric), failed=failed, cells=len(line.rows))
        theirs, difference = _of_one(line.published(metric)), _of_one(line.difference(metric))
        found += [format_estimate(theirs), format_place(ours), format_estimate(difference, -1.0)]
    return found


def _of_one(value: float | None) -> Estimate:
    return estimate([] if value is None else [value])


def _number_settings(lines: Sequence[Line]) -> dict[tuple[str, ...], str]:
    """The settings that lines have, by number in the order in which they appear."""
    found = dict.fromkeys(_describe_setting(line) for line in lines if line.theirs)
    return {setting: str(at + 1) for at, setting in enumerate(found)}


def _describe_setting(line: Line) -> tuple[str, ...]:
    """Where theirs is from, what it is of, and what ours is of instead."""
    if (theirs := line.theirs) is None:
        return ()
    apart = line.differing_axes()
    instead = [f"ratio {ours}" if axis == "ratio" else format_spelling(ours) for axis, (ours, _) in apart.items()]
    of = f"{theirs.dataset}, {theirs.model}, ratio {theirs.ratio:g}"
    return theirs.source, f"{theirs.table}, {theirs.place}", of, ", ".join(instead) or "the same"


def _list_settings(settings: dict[tuple[str, ...], str]) -> list[Part]:
    lines = [[number, *setting] for setting, number in settings.items()]
    return _list("where theirs are from", ["setting", "source", "place", "theirs", "ours"], lines)


def _list_methods(lines: Sequence[Line], otherwise: Otherwise) -> list[Part]:
    """What is known of how theirs were made, and what ours set otherwise than the methods' own defaults."""
    found: dict[tuple[str, ...], None] = {}
    for line in lines:
        texts = line.theirs.setting if line.theirs else "", describe_otherwise(line, otherwise)
        if line.theirs and any(texts):
            found[(format_spelling(line.defense), *(text or "–" for text in texts))] = None
    return _list("how methods were set", ["defense", "theirs", "ours, beside its defaults"], list(found))


def _list(heading: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> list[Part]:
    frame = pd.DataFrame(list(lines), columns=pd.Index(columns)).set_index(columns[0])
    return [Part((heading,), frame, 0, turned=False)] if lines else []
