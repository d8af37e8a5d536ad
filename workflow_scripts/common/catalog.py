"""Which methods exist, what they ask for and what may be set: read from the source, never imported.

Importing a method would import torch, which costs more than a second in every job that Snakemake plans.
"""

import ast
import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.common import fields
from workflow_scripts.common.arguments import may_ask_for
from workflow_scripts.common.errors import UserError, join_names

ROOT = Path(__file__).resolve().parents[1]
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


def source_file(kind: str, method: str) -> Path:
    """The file of one method."""
    return ROOT / kind / f"{method}.py"


def method_name(spelling: str) -> str:
    """`tsbd` of `tsbd+reinit~v1`."""
    return spelling.partition("+")[0]


def is_implant(attack: str) -> bool:
    """Whether the attack of this spelling controls the training of its victim."""
    return "model" in describe("attacks", method_name(attack)).asks


def file_name(method: object) -> str:
    """The name of a method that has been made: that of its file."""
    return type(method).__module__.rpartition(".")[2]


@functools.cache
def describe(kind: str, method: str) -> Method:
    """Read one method's file. UserError, with what there is, if there is none of that name."""
    if method not in list_methods(kind):
        raise UserError(f"no {method!r} among the {kind}; there are: {join_names(list_methods(kind))}")
    path = source_file(kind, method)
    node = _method_class(path, BASES[kind])
    found: dict[str, fields.Field] = {}
    traits: dict[str, Any] = {}
    asks: tuple[str, ...] = ()
    for home, owner in reversed(_lineage(path, node)):
        for part in owner.body:
            match part:
                case ast.AnnAssign(target=ast.Name(id=key), annotation=kind_, value=default) if default:
                    found[key] = fields.parse_annotation(key, _resolve_alias(home, kind_), ast.literal_eval(default))
                case ast.Assign(targets=[ast.Name(id=key)], value=ast.Constant() | ast.Tuple() as value):
                    traits[key] = ast.literal_eval(value)
                case ast.FunctionDef(name="__call__"):
                    asks = tuple(a.arg for a in (*part.args.args, *part.args.kwonlyargs) if a.arg != "self")
    if kind == "models":  # an architecture is no call: its fields say what it stands on
        asks = tuple(key for key, field in found.items() if field.names)
    described = Method(kind, method, node.name, found, asks, traits)
    _check_asks(path, described)
    return described


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


@functools.cache
def parse_source(path: Path) -> ast.Module:
    """The syntax tree of a file of this project."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imported_names(path: Path) -> dict[str, Path]:
    """Names that a file imports from this project at its top, each with the file that defines it."""
    found = {}
    for node in parse_source(path).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == ROOT.name:
            base = ROOT.parent.joinpath(*(node.module or "").split("."))
            for alias in node.names:
                places = (base / f"{alias.name}.py", base.with_suffix(".py"), base / "__init__.py")
                found[alias.asname or alias.name] = next(place for place in places if place.exists())
    return found


def _method_class(path: Path, base: str) -> ast.ClassDef:
    """The one dataclass of a method's file that derives from the base of its kind, not counting those that another of
    them derives from."""
    nodes = [n for n in parse_source(path).body if isinstance(n, ast.ClassDef) and _is_dataclass(n)]
    derived = [n for n in nodes if not base or any(owner.name == base for _, owner in _lineage(path, n))]
    parents = {owner.name for n in derived for _, owner in _lineage(path, n)[1:]}
    found = [n for n in derived if n.name not in parents]
    if len(found) != 1:
        wanted = f"one dataclass that derives from {base}" if base else "one dataclass"
        raise UserError(
            f"{path.parent.name}/{path.name}: it must define {wanted}; it has {join_names(n.name for n in found)}"
        )
    return found[0]


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _lineage(path: Path, node: ast.ClassDef) -> list[tuple[Path, ast.ClassDef]]:
    """The class and the project's classes that it inherits from, nearest first, each with its file."""
    found = [(path, node)]
    for base in (ast.unparse(b) for b in node.bases):
        home = imported_names(path).get(base, path)
        parents = (n for n in parse_source(home).body if isinstance(n, ast.ClassDef) and n.name == base)
        for parent in parents:
            found += _lineage(home, parent)
    return found


def _resolve_alias(path: Path, annotation: ast.expr) -> ast.expr:
    """What `Scheme` stands for, where a file of this project says `Scheme = Literal[...]`."""
    if not isinstance(annotation, ast.Name):
        return annotation
    home = imported_names(path).get(annotation.id, path)
    for node in parse_source(home).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript(value=ast.Name(id="Literal")) as value):
                if name == annotation.id:
                    return value
    return annotation


def resolve(kind: str, spelling: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A method's hyper-parameters: its defaults, then the dataset's settings, then what is spelled.

    settings: by kind, then by method.
    """
    method, *pairs = spelling.split("+")
    chosen = dict(pair.split("~", 1) for pair in pairs)
    return _defaults(kind, method, settings) | _read(kind, method, chosen)


def canonical_spelling(kind: str, method: str, given: Mapping[str, Any], settings: Mapping[str, Any] | None) -> str:
    """The one spelling of a method: keys in field order, those equal to the resolved default left out."""
    defaults, chosen = _defaults(kind, method, settings), _read(kind, method, given)
    differing = [key for key in defaults if key in chosen and chosen[key] != defaults[key]]
    return "+".join([method, *(f"{key}~{fields.format_value(chosen[key])}" for key in differing)])


def _defaults(kind: str, method: str, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    own = {key: field.default for key, field in describe(kind, method).fields.items()}
    return own | _read(kind, method, (settings or {}).get(kind, {}).get(method, {}))


def _read(kind: str, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = describe(kind, method).fields
    found = {}
    for key, value in given.items():
        if key not in known:
            raise UserError(f"{method} has no {key!r}; it has: {join_names(known)}")
        try:
            found[key] = known[key].read(value)
        except UserError as error:
            raise UserError(f"{method}: {error}") from None
        if known[key].names and found[key] not in list_methods(known[key].names):
            there = join_names(list_methods(known[key].names))
            raise UserError(
                f"{method}: {key} is {value!r}, which is none of the {known[key].names}; there are: {there}"
            )
    return found


def make(kind: str, method: str, params: Mapping[str, Any]) -> Any:
    """The method itself, its file imported."""
    module = importlib.import_module(f"{ROOT.name}.{kind}.{method}")
    return getattr(module, describe(kind, method).class_name)(**_read(kind, method, params))
