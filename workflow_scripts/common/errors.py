"""The one kind of error that a user may cause."""

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


def join_names(names: object) -> str:
    """`a, b, c` of any iterable of names; `nothing` of an empty one."""
    return ", ".join(map(str, names)) or "nothing"  # type: ignore[call-overload]
