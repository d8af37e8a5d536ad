"""Averages over attacks: all columns of a table are averaged over the same cells, or not at all."""

from collections.abc import Iterable, Sequence

from workflow_scripts.evaluation.checks import Row

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


def average_by_seed(rows: Iterable[Row], metric: str, places: Sequence[Place]) -> tuple[dict[int, float], int]:
    """One defense's mean over the attacks of these places, by seed, and how many of the places it has. Where it lacks
    one, or diverged there, there is no average: one over the others would be better for it."""
    own = {place_of(row): row[metric] for row in rows if row[metric] is not None and "diverged" not in row["checks"]}
    counted = [place for place in places if place in own]
    if len(counted) < len(places):
        return {}, len(counted)
    seeds: dict[int, list[float]] = {}
    for place in counted:
        seeds.setdefault(place[1], []).append(own[place])
    return {seed: sum(values) / len(values) for seed, values in sorted(seeds.items())}, len(counted)
