"""The one kind of error that a user may cause."""

import difflib
from collections.abc import Collection
from typing import Any

LONGEST = 1500
"""Characters of a message."""


class UserError(ValueError):
    """Something that a user wrote or supplied is wrong: what, where, and what would be right, in a line or two.

    It repeats what stood in a file: what does not print is escaped, and of what is too long the middle left out.
    """

    def __init__(self, text: str):
        line = to_printable(text)
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 500]} ... {line[-490:]}")


def to_printable(text: str) -> str:
    """The text in one line: what does not print as a screen's escapes have it."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def repeat(value: Any) -> str:
    """A value as Python writes it, if it does: of a whole number of more digits than 4,300 it refuses to."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__} too long to write>"


def show(value: Any) -> str:
    """A value as it was written, cut where it is long."""
    text = repeat(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def suggest(name: object, known: Collection[str]) -> str:
    """What may have been meant by a name that nothing has: `near it: a`, or `there are: a, b` where none is alike."""
    return find_near(name, known) or f"there are: {join_names(known)}"


def find_near(name: object, known: Collection[str]) -> str:
    """`near it: a, b`; nothing where none is alike."""
    near = difflib.get_close_matches(str(name).lower(), sorted(known), n=5)
    return f"near it: {join_names(near)}" if near else ""


def join_names(names: object) -> str:
    """`a, b, c` of any iterable of names; `nothing` of an empty one."""
    return ", ".join(map(str, names)) or "nothing"  # type: ignore[call-overload]
