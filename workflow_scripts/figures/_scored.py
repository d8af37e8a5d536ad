"""Which of the analyses of defenses' scores a figure shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_scripts.analyses import Measured
from workflow_scripts.common import spellings
from workflow_scripts.common.cells import Cell


def victim_of(about: Mapping[str, Any]) -> tuple[str, ...]:
    """The cell without its defense."""
    return tuple(str(about[axis]) for axis in Cell._fields if axis != "defense")


def drop_duplicate_orders(found: Sequence[Measured], only_controls: bool = False) -> list[Measured]:
    """Those that have rows; of defenses (or of controls only) that order the units of all victims alike, say one at
    several shares, the first."""
    orders: dict[str, dict[tuple[str, ...], str]] = {}
    for table, about in found:
        if len(table):
            orders.setdefault(about["defense"], {})[victim_of(about)] = about["order"]
    first: dict[object, str] = {}
    for defense, own in orders.items():
        merged = spellings.is_control(defense) or not only_controls
        first.setdefault(tuple(sorted(own.items())) if merged else defense, defense)
    return [(table, about) for table, about in found if len(table) and about["defense"] in first.values()]
