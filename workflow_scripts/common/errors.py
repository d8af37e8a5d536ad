"""The one kind of error that a user may cause."""


class UserError(ValueError):
    """Something that a user wrote or supplied is wrong: what, where, and what would be right, in a line or two."""


def join_names(names: object) -> str:
    """`a, b, c` of any iterable of names; `nothing` of an empty one."""
    return ", ".join(map(str, names)) or "nothing"  # type: ignore[call-overload]
