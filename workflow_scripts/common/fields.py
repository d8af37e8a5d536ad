"""Types of hyper-parameters: how a value is read from YAML or a file name, checked, and spelled.

A method annotates its fields with these names or with `int`, `float`, `bool`, `str`, `Literal[...]` or
`tuple[Count, ...]`. The catalog reads the annotations without importing the method.
"""

import ast
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from workflow_scripts.common.errors import UserError, join_names, show

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What neither a path nor a line may hold: control characters, ends of lines, halves of characters."""


@dataclass(frozen=True)
class Range:
    """An interval that a number must lie in, whole numbers only above some place, with its wording for a reader."""

    low: float
    high: float = math.inf
    open_low: bool = False
    whole_above: float = math.inf

    def __contains__(self, value: float) -> bool:
        inside = (self.low < value if self.open_low else self.low <= value) and value <= self.high
        return inside and (value <= self.whole_above or value == int(value))

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        high = "" if self.high == math.inf else f" and at most {self.high:.15g}"
        return low + high + ("" if self.whole_above == math.inf else f", above {self.whole_above:g} a whole one")


LARGEST = 1_000_000
Count = Annotated[int, Range(1, LARGEST)]
Whole = Annotated[int, Range(0, LARGEST)]
Percent = Annotated[int, Range(0, 100)]
Bits = Annotated[int, Range(1, 7)]
Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, open_low=True)]
Byte = Annotated[float, Range(0, 255, open_low=True)]
Size = Annotated[float, Range(0, LARGEST, open_low=True, whole_above=1)]
"""A share of the training set up to 1, or a number of images above it."""

AuxiliaryName = Annotated[str, "auxiliaries"]
DatasetName = Annotated[str, "datasets"]
DetectorName = Annotated[str, "detectors"]
ModelName = Annotated[str, "models"]
TimmName = Annotated[str, "networks of timm"]
"""The name of a method of another kind, without hyper-parameters; of a dataset, that in the configuration; of a network
in a library. A field that names an auxiliary, a dataset or a detector is an argument of that name, if the method asks
for it."""

NAMES: dict[str, str] = {
    name: alias.__metadata__[0]
    for name, alias in list(globals().items())
    if hasattr(alias, "__metadata__") and alias.__origin__ is str
}
RANGES: dict[str, tuple[type, Range]] = {
    name: (alias.__origin__, alias.__metadata__[0])
    for name, alias in list(globals().items())
    if hasattr(alias, "__metadata__") and name not in NAMES
}


@dataclass(frozen=True)
class Field:
    """One hyper-parameter: its name, its default, and what a value of it may be (of a tuple, each of its numbers);
    `names`: the kind of method that a value is the name of."""

    name: str
    default: Any
    type: type
    range: Range | None = None
    choices: tuple[Any, ...] = ()
    names: str = ""

    def __str__(self) -> str:
        if self.choices:
            return "one of " + join_names(self.choices)
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a line of text"}
        kind = names.get(self.type, "a list of whole numbers, each")
        return f"{kind} {self.range}" if self.range else kind

    def read(self, value: Any) -> Any:
        """`value`, as YAML or a file name gives it, as this field's type; UserError if it cannot be."""
        try:
            converted = self._convert(value)
        except (TypeError, ValueError, OverflowError):
            converted = None
        parts = converted if isinstance(converted, tuple) else (converted,)
        in_range = bool(parts) and None not in parts and all(self.range is None or part in self.range for part in parts)
        if not in_range or (self.choices and converted not in self.choices):
            raise UserError(f"{self.name} is {show(value)}; it must be {self}")
        return converted

    def is_one(self, value: list[Any]) -> bool:
        """Whether a list in a study is one value of this field, not several values."""
        return self.type is tuple and not any(isinstance(part, str | list | tuple) for part in value)

    def _convert(self, value: Any) -> Any:
        if self.type is tuple:
            parts = value.split("x") if isinstance(value, str) else value
            return tuple(map(_to_whole, parts if isinstance(parts, list | tuple) else [parts]))
        if self.type is bool:
            return (
                {"true": True, "false": False}[str(value).lower()] if str(value).lower() in ("true", "false") else None
            )
        if self.type is str:
            return value if isinstance(value, str) and not CONTROL.search(value) else None
        return _to_whole(value) if self.type is int else _to_number(value)


def _to_number(value: Any) -> float | None:
    """YAML reads 1e-3 as a text: a text that is a number is that number; a whole one must be one of a float, too."""
    if isinstance(value, bool | bytes):
        return None
    written = int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() else value
    number = float(written)
    return number if math.isfinite(number) and (number == written or isinstance(written, str)) else None


def _to_whole(value: Any) -> int | None:
    number = _to_number(value)
    return int(number) if number is not None and number == int(number) else None


def format_value(value: Any) -> str:
    """A value as it stands in a path: numbers as Python's repr, tuples joined by x."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "x".join(map(format_value, value))
    return str(value) if isinstance(value, str) else repr(value).replace("+", "")


def parse_annotation(name: str, annotation: ast.expr, default: Any) -> Field:
    """The field that `name: annotation = default` in a method's class declares. UserError if it may not be one."""
    simple = {"int": int, "float": float, "bool": bool, "str": str}
    match annotation:
        case ast.Name(id=known) if known in RANGES:
            kind, interval = RANGES[known]
            return Field(name, default, kind, interval)
        case ast.Name(id=known) if known in NAMES:
            return Field(name, default, str, names=NAMES[known])
        case ast.Name(id=known) if known in simple:
            return Field(name, default, simple[known])
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            found = ast.literal_eval(choices)
            options = found if isinstance(found, tuple) else (found,)
            return Field(name, default, type(options[0]), choices=options)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[ast.Name(id=known), *_])) if (
            RANGES.get(known, (float,))[0] is int
        ):
            return Field(name, default, tuple, RANGES[known][1])
    there = join_names([*simple, *RANGES, *NAMES, "Literal[…]", "tuple[Count, ...]"])
    raise UserError(f"the field {name} is annotated as {ast.unparse(annotation)}; there are: {there}")
