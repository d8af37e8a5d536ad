"""A table's places into parts that fit on a page: split by block, turned where there are many columns, then cut."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from workflow_scripts.reporting.aggregate import TableCell, format_spelling

NAMES = {"acc": "ACC", "asr": "ASR", "ra": "RA", "der": "DER"}
WIDEST = 8
"""Columns that a page has room for."""
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
    groups = {p.row: p.group for p in found}
    order = [row for group in dict.fromkeys(groups.values()) for row in groups if groups[row] == group]
    places = [(metric, row) for metric in NAMES for row in order if (metric, row) in known]
    frame = pd.DataFrame(
        [[texts.get((*place, column), "") for column in own] for place in places],
        index=pd.MultiIndex.from_tuples(places, names=["metric", corner[0]]),
        columns=pd.Index(own, name=corner[1]),
    )
    heading = (format_spelling(block),) if block else ()
    if len(own) <= WIDEST:
        yield Part(heading, _spell(frame), count, turned=False)
        return
    turned = Part(heading, _spell(frame).T, count, turned=True)
    if len(places) <= WIDEST:
        yield turned
        return
    for metric in dict.fromkeys(metric for metric, _ in places):
        cuts = _cut([groups[row] for at, row in places if at == metric])
        lines = pd.DataFrame(turned.frame[NAMES[metric]])
        for number, cut in enumerate(cuts):
            name = NAMES[metric] + (f" ({number + 1} of {len(cuts)})" if len(cuts) > 1 else "")
            yield replace(turned, heading=(*heading, name), frame=lines.iloc[:, cut])


def _cut(groups: Sequence[str]) -> list[slice]:
    """Where to cut rows of these groups so that none is longer than a page is wide; whole groups where they fit."""
    starts = [0]
    for at in range(1, len(groups)):
        end = next((i for i in range(at, len(groups)) if groups[i] != groups[at]), len(groups))
        fits = groups[at] == groups[at - 1] or end - starts[-1] <= WIDEST
        if not fits or at - starts[-1] == WIDEST:
            starts.append(at)
    return [slice(start, end) for start, end in itertools.pairwise([*starts, len(groups)])]


def _spell(frame: pd.DataFrame) -> pd.DataFrame:
    """Every label as a reader wants it."""
    index = pd.MultiIndex.from_tuples(
        [(NAMES[m], format_spelling(row)) for m, row in frame.index], names=frame.index.names
    )
    columns = pd.Index([format_spelling(column) for column in frame.columns], name=frame.columns.name)
    return frame.set_axis(index).set_axis(columns, axis=1)
