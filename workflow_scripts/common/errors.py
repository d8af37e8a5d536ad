"""The one kind of error that a user may cause."""

from typing import Any


class UserError(ValueError):
    """Something that a user wrote or supplied is wrong: what, where, and what would be right, in a line or two."""


def show(value: Any) -> str:
    """A value as it was written, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def join_names(names: object) -> str:
    """`a, b, c` of any iterable of names; `nothing` of an empty one."""
    return ", ".join(map(str, names)) or "nothing"  # type: ignore[call-overload]
