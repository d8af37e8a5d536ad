"""A table's places into parts that fit on a page: split by block, turned where there are many columns, then cut."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from workflow_scripts.reporting.aggregate import TableCell, format_spelling

NAMES = {"acc": "ACC", "asr": "ASR", "ra": "RA", "der": "DER"}
WIDEST, LONGEST = 8, 50
"""Columns and lines that a page has room for."""
Text = Callable[[TableCell], str]


@dataclass(frozen=True)
class Part:
    """heading: the block, and what else tells the part from the others; frame: texts; controls: how many of its lines,
    or where they are columns of its columns, are controls, the last ones."""

    heading: tuple[str, ...]
    frame: pd.DataFrame
    controls: int
    turned: bool


def lay_out(
    found: Sequence[TableCell], columns: Sequence[str], controls: Sequence[str], corner: tuple[str, str], text: Text
) -> list[Part]:
    """The parts of a table. corner: what its rows and its columns are."""
    return [
        part
        for block in dict.fromkeys(place.block for place in found)
        for part in _block(block, [p for p in found if p.block == block], [*columns, *controls], controls, corner, text)
    ]


def flatten(part: Part, italic: Callable[[str], str]) -> pd.DataFrame:
    """The frame of a part as lines below one line of names, those of its controls in italics."""
    frame = part.frame.copy()
    names = list(frame.index if part.turned else frame.columns)
    own = len(names) - part.controls
    names[own:] = map(italic, names[own:])
    if part.turned:
        frame.index = pd.Index(names, name=frame.index.name)
    else:
        frame.columns = pd.Index(names)
    if isinstance(frame.columns, pd.MultiIndex):
        frame.columns = pd.Index([" ".join(at) for at in frame.columns])
    return frame.rename_axis(columns=None).reset_index()


def _block(
    block: str,
    found: Sequence[TableCell],
    columns: Sequence[str],
    controls: Sequence[str],
    corner: tuple[str, str],
    text: Text,
) -> Iterator[Part]:
    texts = {(place.metric, place.row, place.column): text(place) for place in found}
    there = {place.column for place in found}
    own = [column for column in columns if column in there]
    count = sum(column in controls for column in own)
    known = {(p.metric, p.row) for p in found if p.estimate.n or p.counted is not None}
    kept = {p.row: p.group for p in found}
    order = [row for group in dict.fromkeys(kept.values()) for row in kept if kept[row] == group]
    places = [(metric, row) for metric in NAMES for row in order if (metric, row) in known]
    groups = {format_spelling(row): group for row, group in kept.items()}
    if not places:
        return
    frame = pd.DataFrame(
        [[texts.get((*place, column), "") for column in own] for place in places],
        index=pd.MultiIndex.from_tuples(places, names=["metric", corner[0]]),
        columns=pd.Index(own, name=corner[1]),
    )
    whole = Part((format_spelling(block),) if block else (), _spell(frame), count, turned=False)
    if len(own) > WIDEST:
        yield from _turn(whole, groups)
    elif len(places) <= LONGEST:
        yield whole
    else:
        for metric, lines in whole.frame.groupby(level=0, sort=False):
            cuts = cut_groups([groups[row] for _, row in lines.index], LONGEST)
            for number, cut in enumerate(cuts):
                yield replace(whole, heading=(*whole.heading, _number(metric, number, cuts)), frame=lines.iloc[cut])


def _turn(whole: Part, groups: Mapping[str, str]) -> Iterator[Part]:
    """A part with its columns as lines: all metrics side by side if they fit, else one after the other."""
    frame = whole.frame.T
    for start in range(0, len(frame), LONGEST):
        lines = frame.iloc[start : start + LONGEST]
        controls = max(0, whole.controls - (len(frame) - start - len(lines)))
        part = replace(whole, frame=lines, controls=min(controls, len(lines)), turned=True)
        if frame.shape[1] <= WIDEST:
            yield part
            continue
        for metric in dict.fromkeys(frame.columns.get_level_values(0)):
            own = pd.DataFrame(lines[metric])
            cuts = cut_groups([groups[row] for row in own.columns], WIDEST)
            for number, cut in enumerate(cuts):
                yield replace(part, heading=(*part.heading, _number(metric, number, cuts)), frame=own.iloc[:, cut])


def _number(metric: object, number: int, cuts: Sequence[slice]) -> str:
    return f"{metric} ({number + 1} of {len(cuts)})" if len(cuts) > 1 else str(metric)


def cut_groups(groups: Sequence[str], most: int) -> list[slice]:
    """Where to cut rows of these groups so that there are at most so many in each part; whole groups where they fit."""
    starts = [0]
    for at in range(1, len(groups)):
        end = next((i for i in range(at, len(groups)) if groups[i] != groups[at]), len(groups))
        fits = groups[at] == groups[at - 1] or end - starts[-1] <= most
        if not fits or at - starts[-1] == most:
            starts.append(at)
    return [slice(start, end) for start, end in itertools.pairwise([*starts, len(groups)])]


def _spell(frame: pd.DataFrame) -> pd.DataFrame:
    """Every label as a reader wants it."""
    index = pd.MultiIndex.from_tuples(
        [(NAMES[m], format_spelling(row)) for m, row in frame.index], names=frame.index.names
    )
    columns = pd.Index([format_spelling(column) for column in frame.columns], name=frame.columns.name)
    return frame.set_axis(index).set_axis(columns, axis=1)
