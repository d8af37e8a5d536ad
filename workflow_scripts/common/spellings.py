"""What a method with hyper-parameters is called, and what follows from that: its resolved hyper-parameters, and of what
nature it is."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from workflow_scripts.common import catalog, fields
from workflow_scripts.common.errors import UserError, show

SPELLING = r"[a-z0-9_]+(\+[a-z0-9_]+~[A-Za-z0-9_.-]+)*"
"""What a method with hyper-parameters is called in paths."""
LONGEST = 200
"""Characters of a folder's name, which may have 255 bytes, some of them for the names of temporary files."""


def parse_spelling(spelling: str) -> tuple[str, dict[str, str]]:
    """A method and the hyper-parameters that its spelling gives."""
    method, *pairs = spelling.split("+")
    if not all("~" in pair for pair in pairs):
        raise UserError(f"{show(spelling)} is no spelling of a method; say name or name+key~value")
    found = dict(pair.split("~", 1) for pair in pairs)
    if len(found) < len(pairs):
        raise UserError(f"{show(spelling)} says a key twice")
    return method, found


def method_name(spelling: str) -> str:
    """`tsbd` of `tsbd+reinit~v1`."""
    return spelling.partition("+")[0]


def resolve(kind: str, spelling: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A method's hyper-parameters: its defaults, then the dataset's settings, then what is spelled.

    settings: by kind, then by method.
    """
    method, given = parse_spelling(spelling)
    return _defaults(kind, method, settings) | catalog.read_params(kind, method, given)


def canonical_spelling(kind: str, method: str, given: Mapping[str, Any], settings: Mapping[str, Any] | None) -> str:
    """The one spelling of a method: keys in field order, those equal to the resolved default left out."""
    defaults, chosen = _defaults(kind, method, settings), catalog.read_params(kind, method, given)
    return _spell(method, {key: chosen[key] for key in defaults if key in chosen and chosen[key] != defaults[key]})


def full_spelling(kind: str, method: str, given: Mapping[str, Any]) -> str:
    """A method with all that is given, in field order: what it is called wherever a reader compares."""
    chosen = catalog.read_params(kind, method, given)
    return _spell(method, {key: chosen[key] for key in catalog.describe(kind, method).fields if key in chosen})


def _spell(method: str, chosen: Mapping[str, Any]) -> str:
    spelling = "+".join([method, *(f"{key}~{fields.format_value(value)}" for key, value in chosen.items())])
    if not re.fullmatch(SPELLING, spelling) or len(spelling) > LONGEST:
        raise UserError(
            f"{show(spelling)} names a folder: its values may be of letters, digits, _ . and -, and of {LONGEST} "
            "characters in all"
        )
    return spelling


def _defaults(kind: str, method: str, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    own = {key: field.default for key, field in catalog.describe(kind, method).fields.items()}
    return own | catalog.read_params(kind, method, (settings or {}).get(kind, {}).get(method, {}))


def is_control(defense: str) -> bool:
    """Whether a defense of this spelling is a control, by its nature or because it draws at random what it would
    select."""
    traits = catalog.describe("defenses", method_name(defense)).traits
    return bool(traits["control"]) or resolve("defenses", defense).get("selection", "own") != "own"


def at_random(defense: str) -> str | None:
    """The spelling of the same defense with what it selects drawn at random; None of one that selects nothing, or draws
    already."""
    method, given = parse_spelling(defense)
    if "selection" not in catalog.describe("defenses", method).fields or is_control(defense):
        return None
    return full_spelling("defenses", method, given | {"selection": "random"})


def find_needs(defense: str, settings: Mapping[str, Any] | None = None) -> Iterator[str]:
    """What a defense of this spelling needs of a network: `stages` of `stages`; of `estimator~head: an extractor` only
    where the field has that value."""
    described = catalog.describe("defenses", method_name(defense))
    chosen = resolve("defenses", defense, settings)
    for need in described.traits["needs"]:
        condition, _, needed = need.rpartition(": ")
        key, _, value = condition.partition("~")
        if not condition or fields.format_value(chosen[key]) == value:
            yield needed


def is_implant(attack: str) -> bool:
    """Whether the attack of this spelling controls the training of its victim."""
    return "model" in catalog.describe("attacks", method_name(attack)).asks


def is_clean_model(argument: str, defense: str) -> bool:
    """Whether an argument of this name is the clean model: by itself, or as what a control of this spelling left."""
    if argument == "defended" and defense:
        argument = catalog.describe("defenses", method_name(defense)).traits["stands_for"]
    return argument == "clean_victim"
