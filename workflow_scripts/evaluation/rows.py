"""A study's rows of its metrics, under the names that the study gave them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from workflow_scripts.common.cells import Asked, Cell, Study, cell_of
from workflow_scripts.evaluation.checks import Row

T = TypeVar("T")
Key = TypeVar("Key")
NAMED = ("model", "attack", "defense")
"""The axes that name methods."""
REFERENCES = ("none", "clean")
"""The undefended and the clean model."""


def name_rows(study: Study, rows: Iterable[Row]) -> list[Row]:
    """The rows that a study asks for, in its order and with its names; one asked for by two names stands twice.
    `setting` is the defense as its dataset spells it: two names of one setting have the same."""
    return _select(rows, study.asked)


def name_references(study: Study, rows: Iterable[Row]) -> list[Row]:
    """The rows of the undefended and of the clean model of each victim of a study, asked for or implied."""
    return _select(rows, rename_defenses(study, REFERENCES))


def rename_defenses(study: Study, defenses: Iterable[str]) -> list[Asked]:
    """What a study asks for with these defenses, each victim once, in place of its own."""
    found = (Asked(*(part._replace(defense=d) for part in asked)) for asked in study.asked for d in defenses)
    return list(dict.fromkeys(found))


def count_missing(study: Study, rows: Iterable[Row]) -> int:
    """How many of the study's cells have no row yet."""
    return len(set(study.cells) - {cell_of(row) for row in rows})


def _select(rows: Iterable[Row], asked: Iterable[Asked]) -> list[Row]:
    found = group_rows(rows, cell_of)
    return [row | {"setting": cell.defense} | name_axes(name) for cell, name in asked for row in found.get(cell, [])]


def name_axes(name: Cell) -> dict[str, str]:
    """The methods of a cell, by axis."""
    return {axis: getattr(name, axis) for axis in NAMED}


def label_defense(row: Row) -> str:
    """A row's defense, and its protocol where the model may be asked in several ways: never the one without the
    other."""
    return f"{row['defense']} {label_protocol(row)}".strip()


def label_protocol(row: Row) -> str:
    """How a row's model was asked, where it may be asked in several ways."""
    return "" if row.get("protocol", "default") == "default" else f"[{row['protocol']}]"


def format_label(row: Mapping[str, Any], axes: Sequence[str]) -> str:
    """What a row is called along these axes."""
    special: dict[str, Callable[[Row], str]] = {
        "ratio": lambda r: f"{float(r['ratio']):g}",
        "defense": label_defense,
        "protocol": label_protocol,
    }
    return " ".join(special[axis](dict(row)) if axis in special else str(row[axis]) for axis in axes).strip()


def group_rows(rows: Iterable[T], key: Callable[[T], Key]) -> dict[Key, list[T]]:
    """The rows by a key, in the order in which its values appear."""
    found: dict[Key, list[T]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def axes_apart(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which axes tell the victims of these rows apart: the attack, the dataset and the model where there are several,
    and the ratio where one attack has several. What does not differ along them differs in its seed alone."""
    victims = list(rows)
    axes = [axis for axis in ("dataset", "model", "attack") if axis == "attack" or len({v[axis] for v in victims}) > 1]
    ratios = {(format_label(victim, axes), float(victim["ratio"])) for victim in victims}
    return [*axes, "ratio"] if len(ratios) > len({label for label, _ in ratios}) else axes
