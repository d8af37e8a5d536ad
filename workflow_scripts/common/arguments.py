"""What a name in a method's signature stands for: who may ask for it, and how it is read; and what each step reads.
Where it is kept stands in rules/common.smk; CONTRIBUTING.md has the first table for people, and a test holds the two
together."""

import importlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

READERS = "workflow_scripts.jobs.readers"


@dataclass(frozen=True)
class Argument:
    """may_ask: kinds of methods, `controls` for the defenses that are none; reader: the function in jobs/readers.py."""

    may_ask: frozenset[str]
    reader: str


def _row(reader: str, kinds: str) -> Argument:
    return Argument(frozenset(kinds.split()), reader)


ARGUMENTS = {
    "run": _row("run", "attacks defenses detectors auxiliaries analyses"),
    "ratio": _row("ratio", "attacks"),
    "train": _row("images", "attacks auxiliaries controls analyses"),
    "test": _row("images", "controls analyses"),
    "holdout": _row("holdout", "defenses detectors analyses"),
    "poisoned_train": _row("published", "defenses detectors auxiliaries analyses"),
    "model": _row("untrained", "attacks defenses detectors auxiliaries analyses"),
    "victim": _row("network", "defenses detectors analyses"),
    "clean_victim": _row("network", "attacks auxiliaries controls analyses"),
    "retrained": _row("network", "controls"),
    "defended": _row("network", "analyses"),
    "defense": _row("defense", "analyses"),
    "log": _row("table", "analyses"),
    "truth": _row("truth", "controls analyses"),
}
"""The threat model. Controls may have what is named there beside a defense's own."""
NAMED = {"auxiliaries": "auxiliary", "datasets": "images", "detectors": "scores"}
"""How the argument is read that is what a field of the same name names, by the kind of that."""


class Step(NamedTuple):
    """The axis of its method; arguments that the step reads itself; axes whose hyper-parameters its rows carry too;
    whether it calls its method; fields of that which make no difference to it."""

    axis: str
    reads: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    calls: bool = True
    ignores: tuple[str, ...] = ()


STEPS = {
    "prepare_data": Step("dataset", ignores=("holdout",)),
    "draw_holdout": Step("dataset"),
    "poison": Step("attack", reads=("test",)),
    "train": Step("model", reads=("model", "poisoned_train")),
    "implant": Step("attack", reads=("test",)),
    "train_auxiliary": Step("auxiliary"),
    "detect": Step("detector"),
    "defend": Step("defense"),
    "evaluate": Step("defense", reads=("defended", "test", "truth"), records=("attack", "model"), calls=False),
    "analyze": Step("analysis", records=("defense", "model")),
}


def may_ask_for(kind: str, control: bool = False) -> set[str]:
    """The names that methods of a kind may have in their signatures."""
    kinds = {kind, "controls"} if control else {kind}
    return {name for name, argument in ARGUMENTS.items() if kinds & argument.may_ask}


def find_reader(name: str, named: str = "") -> str:
    """The function of jobs/readers.py that reads an argument; `named`: the kind of what a field of that name names."""
    return NAMED[named] if named else ARGUMENTS[name].reader


def builds_network(name: str) -> bool:
    """Whether the argument is a network of the cell's architecture, or of the one that a field names in its place."""
    return name in ARGUMENTS and ARGUMENTS[name].reader in ("network", "untrained")


def architecture_axis(axis: str, name: str, fields: Collection[str]) -> str:
    """Which name says of what architecture a network is that a method of this axis asks for: that of the cell, or the
    method's field `surrogate` or `backbone`."""
    if name == "clean_victim" and "surrogate" in fields:
        return "surrogate"
    return "backbone" if axis == "auxiliary" else "model"


def call_reader(job: Any, reader: str, name: str) -> Any:
    """One argument of a job."""
    return getattr(importlib.import_module(READERS), reader)(job, name)
