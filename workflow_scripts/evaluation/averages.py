"""Averages over attacks: all columns of a table are averaged over the same cells, or not at all."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import group_rows

VOID = {"diverged", "not_implanted"}
"""The checks that a row is left out for."""
Place = tuple[str, int]
"""An attack and a seed."""


def common_places(rows: Iterable[Row]) -> list[Place]:
    """The places over which rows of several defenses are averaged: the attacks other than none with their seeds, but
    for those at which one of the rows is not_implanted."""
    attacked = [row for row in rows if row["attack"] != "none"]
    void = {place_of(row) for row in attacked if "not_implanted" in row["checks"]}
    return [place for place in dict.fromkeys(map(place_of, attacked)) if place not in void]


def place_of(row: Row) -> Place:
    """The place of a row."""
    return row["attack"], row["seed"]


class Average(NamedTuple):
    """One defense's average over places. mean: of all their cells, None where it lacks one, or diverged there: one over
    the others would be better for it; seeds: the mean at each seed; alike: whether that is of the same attacks each
    time; counted: how many of the places it has."""

    mean: float | None
    seeds: tuple[float, ...]
    alike: bool
    counted: int


def average_cells(rows: Iterable[Row], metric: str, places: Sequence[Place]) -> Average:
    """Of one defense's rows."""
    own = {place_of(row): row[metric] for row in rows if row[metric] is not None and "diverged" not in row["checks"]}
    counted = sum(place in own for place in places)
    if not places or counted < len(places):
        return Average(None, (), True, counted)
    by_seed = group_rows(sorted(places, key=lambda place: place[1]), lambda place: place[1])
    seeds = tuple(fmean(own[place] for place in members) for members in by_seed.values())
    return Average(fmean(own[place] for place in places), seeds, are_alike(places), counted)


def are_alike(places: Iterable[Place]) -> bool:
    """Whether every seed has the same attacks."""
    by_seed = group_rows(places, lambda place: place[1])
    return len({frozenset(attack for attack, _ in members) for members in by_seed.values()}) <= 1
