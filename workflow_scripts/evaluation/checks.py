"""Is this number believable? Named checks of a row against the rows that it refers to; `checks.md` explains each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """The rows that a row is read against; None where one does not exist.

    undefended: the victim, or `plain` for an in-training defense; clean: the clean model on clean images; floor: the
    clean model on the same triggered images; random: at each seed the row and that of the same defense at random, but
    for those that collapsed; reference: the clean accuracy that the literature has on the dataset.
    """

    undefended: Row | None
    clean: Row | None
    floor: Row | None
    random: list[tuple[Row, Row]] = field(default_factory=list)
    seeds: int = 0
    reference: float | None = None


def not_implanted(row: Row, context: Context) -> bool:
    before, floor = _value(context.undefended, "asr"), _value(context.floor, "asr")
    return before is not None and floor is not None and before - floor < 0.5


def collapsed(row: Row, context: Context) -> bool:
    best = _value(context.clean, "acc")
    return best is not None and row["acc"] < 0.9 * best


def weak_clean_model(row: Row, context: Context) -> bool:
    """Below 0.8 of the reference; without one, below 2 / K, or for few classes halfway between chance and 1."""
    best, chance = _value(context.clean, "acc"), 1 / row["classes"]
    low = min(2 * chance, (1 + chance) / 2) if context.reference is None else 0.8 * context.reference
    return best is not None and best < low


def broke_model(row: Row, context: Context) -> bool:
    before = _value(context.undefended, "acc")
    return before is not None and before - row["acc"] > 0.1


def no_better_than_random(row: Row, context: Context) -> bool:
    """The mean over seeds of the differences in DER to itself at random; seeds at which it pruned nothing tell
    nothing."""
    if row["control"] or not row["pruned_share"]:
        return False
    gains = [
        own["der"] - random["der"]
        for own, random in context.random
        if own["pruned_share"] and own["der"] is not None and random["der"] is not None
    ]
    return bool(gains) and sum(gains) / len(gains) <= 0


def few_seeds(row: Row, context: Context) -> bool:
    return context.seeds < 3


def diverged(row: Row, context: Context) -> bool:
    return row["reason"] is not None


CHECKS: tuple[Callable[[Row, Context], bool], ...] = (
    not_implanted,
    collapsed,
    weak_clean_model,
    broke_model,
    no_better_than_random,
    few_seeds,
    diverged,
)
MARKS = dict(zip((check.__name__ for check in CHECKS), "NCWBRFD", strict=True))
"""The letter by which a table marks a failed check."""


def failed_checks(row: Row, context: Context) -> list[str]:
    """The names of the checks that a row fails."""
    return [check.__name__ for check in CHECKS if check(row, context)]


def _value(row: Row | None, key: str) -> float | None:
    return None if row is None else row[key]
