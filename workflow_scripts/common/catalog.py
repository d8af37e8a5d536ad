"""Which methods exist, what they ask for and what may be set: read from the source, never imported.

Importing a method would import torch, which costs more than a second in every job that Snakemake plans.
"""

import ast
import functools
import importlib.util
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.common import fields
from workflow_scripts.common.arguments import NAMED, may_ask_for
from workflow_scripts.common.errors import UserError, find_near, join_names, show, suggest
from workflow_scripts.common.source import ROOT, find_lineage, find_method_class, resolve_alias

BASES = {
    "datasets": "Dataset",
    "models": "Architecture",
    "attacks": "Attack",
    "defenses": "Defense",
    "detectors": "Detector",
    "auxiliaries": "Auxiliary",
    "analyses": "Analysis",
    "wrappers": "Wrapper",
    "figures": "",
}
"""Each kind of method, which is the folder that is its registry, with the class that its methods derive from."""
KIND_OF_AXIS = {
    "dataset": "datasets",
    "model": "models",
    "attack": "attacks",
    "defense": "defenses",
    "detector": "detectors",
    "analysis": "analyses",
    "auxiliary": "auxiliaries",
}
BESIDE = {
    "attacks": {"auxiliaries", "holdout"},
    "models": {"auxiliaries"},
    "defenses": {"retrained"},
    "detectors": {"retrained"},
}
"""Folders that lie where methods of a kind have theirs; detectors lie beside defenses."""


@dataclass(frozen=True)
class Method:
    """What the source of one method says about it."""

    kind: str
    name: str
    class_name: str
    fields: dict[str, fields.Field]
    asks: tuple[str, ...]
    traits: dict[str, Any]

    @property
    def named(self) -> dict[str, str]:
        """The arguments that are what a field of the same name names, each with its kind."""
        return {key: field.names for key, field in self.fields.items() if key in self.asks and field.names}


def list_methods(kind: str) -> tuple[str, ...]:
    """The methods of a kind: the files of its folder."""
    return tuple(sorted(path.stem for path in (ROOT / kind).glob("[a-z]*.py")))


def check_name(kind: str, name: Any) -> None:
    """UserError, with what there is, if no method of the kind has this name."""
    if name not in list_methods(kind):
        raise UserError(f"no {show(name)} among the {kind}; {suggest(name, list_methods(kind))}")


def check_methods() -> None:
    """UserError, with the file, if one of the methods cannot be read, or has a name that others have in its folder of
    results: it would be in the way of every study."""
    beside = {**BESIDE, "detectors": {*BESIDE["detectors"], *list_methods("defenses")}}
    for kind in BASES:
        for name in list_methods(kind):
            describe(kind, name)
            if name in beside.get(kind, ()):
                raise UserError(f"{kind}/{name}.py: its results would lie where others do; call it otherwise")


def source_file(kind: str, method: str) -> Path:
    """The file of one method."""
    return ROOT / kind / f"{method}.py"


def file_name(method: object) -> str:
    """The name of a method that has been made: that of its file."""
    return type(method).__module__.rpartition(".")[2]


@functools.cache
def describe(kind: str, method: str) -> Method:
    """Read one method's file. UserError, with what there is, if there is none of that name."""
    check_name(kind, method)
    path = source_file(kind, method)
    node = find_method_class(path, BASES[kind])
    found: dict[str, fields.Field] = {}
    traits: dict[str, Any] = {}
    asks: tuple[str, ...] = ()
    for home, owner in reversed(find_lineage(path, node)):
        for part in owner.body:
            match part:
                case ast.AnnAssign(target=ast.Name(id=key), value=None):
                    raise UserError(f"{home.parent.name}/{home.name}: the field {key} has no default; give it one")
                case ast.AnnAssign(target=ast.Name(id=key), annotation=kind_, value=ast.expr() as default):
                    found[key] = _read_field(home, key, resolve_alias(home, kind_), default)
                case ast.Assign(targets=[ast.Name(id=key)], value=ast.Constant() | ast.Tuple() as value):
                    traits[key] = ast.literal_eval(value)
                case ast.FunctionDef(name="__call__"):
                    asks = tuple(a.arg for a in (*part.args.args, *part.args.kwonlyargs) if a.arg != "self")
    if kind == "models":  # an architecture is no call: its fields say what it stands on
        asks = tuple(key for key, field in found.items() if field.names in NAMED)
    described = Method(kind, method, node.name, found, asks, traits)
    _check_asks(path, described)
    if kind == "datasets":
        _check_sources(path, node, found)
    return described


def _check_sources(path: Path, node: ast.ClassDef, known: Collection[str]) -> None:
    """UserError where a loader reads files and does not say which: other images would be taken for the same."""
    own = (part for _, owner in find_lineage(path, node) if owner.name != BASES["datasets"] for part in owner.body)
    if {"file", "folder"} & set(known) and not any(isinstance(n, ast.FunctionDef) and n.name == "sources" for n in own):
        raise UserError(
            f"datasets/{path.name}: it reads files and has no method `sources`, which must name them, or other images "
            "would be taken for the same"
        )


def _read_field(path: Path, name: str, annotation: ast.expr, default: ast.expr) -> fields.Field:
    """A field of a method. UserError, with the file, where its kind or its default cannot be read."""
    where = f"{path.parent.name}/{path.name}"
    try:
        return fields.parse_annotation(name, annotation, ast.literal_eval(default))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except ValueError:
        text = ast.unparse(default)
        raise UserError(
            f"{where}: the default of {name} is {text}; it must be written out, a number or a text"
        ) from None


def _check_asks(path: Path, method: Method) -> None:
    """UserError where a method asks for what its kind may not be handed, or for what cannot be known which it is."""
    if method.kind in ("figures", "datasets", "wrappers"):
        return
    allowed = may_ask_for(method.kind, bool(method.traits.get("control"))) | method.named.keys()
    for name in method.asks:
        if name not in allowed:
            raise UserError(
                f"{path.name}: one of the {method.kind} may not ask for {name!r}; it may for: "
                f"{join_names(sorted(allowed))}, and for a field of its own that names an auxiliary, a dataset or a "
                "detector"
            )
    modelless = method.kind == "auxiliaries" or (method.kind == "attacks" and "model" not in method.asks)
    if "clean_victim" in method.asks and modelless and "surrogate" not in method.fields:
        raise UserError(
            f"{path.name}: one of the {method.kind} has no victim's model, so that clean_victim is of the architecture "
            'that a field names; add `surrogate: ModelName = "preact_resnet18"`'
        )


def read_params(kind: str, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a method as they are read; UserError for one that it lacks, and for a value that none may have."""
    known = describe(kind, method).fields
    found = {}
    for key, value in given.items():
        if key not in known:
            raise UserError(f"{method} has no {show(key)}; it has: {join_names(known)}")
        try:
            found[key] = known[key].read(value)
        except UserError as error:
            raise UserError(f"{method}: {error}") from None
        if reason := _find_unknown(found[key], known[key].names):
            raise UserError(f"{method}: {key} is {show(value)}, which is none of the {reason}")
    return found


def _find_unknown(name: str, kind: str) -> str:
    """The kind and what there is or, of a thousand networks, what is near, if none of the kind has this name; nothing
    if one has."""
    if kind == "networks of timm" and name not in list_timm_networks():
        hint = find_near(name, list_timm_networks()) or "timm.list_models() names them"
        return f"{kind} as it is installed here; {hint}"
    if kind in BASES and kind != "datasets" and name not in list_methods(kind):
        return f"{kind}; {suggest(name, list_methods(kind))}"
    return ""


@functools.cache
def list_timm_networks() -> tuple[str, ...]:
    """The names of the networks that the installed timm has, of its source; none where it is not installed."""
    found = importlib.util.find_spec("timm")
    files = Path(found.origin).parent.glob("models/*.py") if found and found.origin else ()
    texts = (path.read_text(encoding="utf-8") for path in files)
    return tuple(sorted(name for text in texts for name in re.findall(r"^@register_model\s+def (\w+)", text, re.M)))


def make(kind: str, method: str, params: Mapping[str, Any]) -> Any:
    """The method itself, its file imported."""
    module = importlib.import_module(f"{ROOT.name}.{kind}.{method}")
    return getattr(module, describe(kind, method).class_name)(**read_params(kind, method, params))
