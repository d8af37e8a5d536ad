"""Which methods exist, what they ask for and what may be set: read from the source, never imported.

Importing a method would import torch, which costs more than a second in every job that Snakemake plans.
"""

import ast
import functools
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.common import fields
from workflow_scripts.common.errors import UserError, listed

ROOT = Path(__file__).resolve().parents[1]
KINDS = {kind: kind for kind in ("datasets", "models", "attacks", "defenses", "auxiliaries", "analyses", "wrappers")}
KINDS["figures"] = "reporting/figures"
"""Each kind of method with its folder: the folder is the registry."""
KIND_OF_AXIS = {
    "dataset": "datasets",
    "model": "models",
    "attack": "attacks",
    "defense": "defenses",
    "analysis": "analyses",
    "auxiliary": "auxiliaries",
    "backbone": "models",
}
MAY_ASK_FOR = {
    "models": {"extractor"},
    "attacks": {"train", "clean_victim", "model", "ratio", "run"},
    "defenses": {"victim", "holdout", "poisoned_train", "model", "run"},
    "controls": {"train", "test", "clean_victim", "retrained", "truth"},
    "auxiliaries": {"train", "poisoned_train", "model", "run"},
    "analyses": {
        "train",
        "holdout",
        "poisoned_train",
        "test",
        "truth",
        "victim",
        "clean_victim",
        "defended",
        "log",
        "defense",
        "model",
        "run",
    },
}
"""The threat model: what each kind may be handed. Controls may have what is named there beside a defense's own."""


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
    def in_training(self) -> bool:
        """A defense that is given the poisoned training set and no victim trains the network itself, or is what such
        training gives without it."""
        return ("poisoned_train" in self.asks and "victim" not in self.asks) or "retrained" in self.asks


def names(kind: str) -> list[str]:
    """The methods of a kind: the files of its folder."""
    return sorted(path.stem for path in (ROOT / KINDS[kind]).glob("[a-z]*.py"))


def source(kind: str, method: str) -> Path:
    """The file of one method."""
    return ROOT / KINDS[kind] / f"{method}.py"


def name(spelling: str) -> str:
    """`tsbd` of `tsbd+reinit~v1`."""
    return spelling.partition("+")[0]


def kind_of(method: str) -> tuple[str, ...]:
    """The kinds that have a method of this name."""
    return tuple(kind for kind in KINDS if method in names(kind))


@functools.cache
def describe(kind: str, method: str) -> Method:
    """Read one method's file. UserError, with what there is, if there is none of that name."""
    if method not in names(kind):
        raise UserError(f"no {method!r} among the {kind}; there are: {listed(names(kind))}")
    path = source(kind, method)
    tree = parse(path)
    (node,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and _is_dataclass(n))
    found: dict[str, fields.Field] = {}
    traits: dict[str, Any] = {}
    asks: tuple[str, ...] = ()
    for owner in reversed(_lineage(path, node)):
        for part in owner.body:
            match part:
                case ast.AnnAssign(target=ast.Name(id=key), annotation=kind_, value=default) if default:
                    found[key] = fields.from_annotation(key, kind_, ast.literal_eval(default))
                case ast.Assign(targets=[ast.Name(id=key)], value=ast.Constant() | ast.Tuple() as value):
                    traits[key] = ast.literal_eval(value)
                case ast.FunctionDef(name="__call__"):
                    asks = tuple(a.arg for a in (*part.args.args, *part.args.kwonlyargs) if a.arg != "self")
    if kind == "models" and "extractor" in found:  # an architecture is no call: its field says what it stands on
        asks = ("extractor",)
    allowed = MAY_ASK_FOR.get(kind, set(asks)) | (MAY_ASK_FOR["controls"] if traits.get("control") else set())
    for name_ in asks:
        if name_ not in allowed:
            raise UserError(
                f"{path.name}: one of the {kind} may not ask for {name_!r}; it may for: {listed(sorted(allowed))}"
            )
    return Method(kind, method, node.name, found, asks, traits)


@functools.cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file of this project."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> dict[str, Path]:
    """Names that a file imports from this project when it runs, each with the file that defines it."""
    found = {}
    for node in _runtime(parse(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == ROOT.name:
            base = ROOT.parent.joinpath(*(node.module or "").split("."))
            for alias in node.names:
                places = (base / f"{alias.name}.py", base.with_suffix(".py"), base / "__init__.py")
                found[alias.asname or alias.name] = next(place for place in places if place.exists())
    return found


def _runtime(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below this one, but for what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _runtime(child)


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _lineage(path: Path, node: ast.ClassDef) -> list[ast.ClassDef]:
    """The class and the project's classes that it inherits from, nearest first."""
    found = [node]
    for base in (ast.unparse(b) for b in node.bases):
        home = imported(path).get(base, path)
        parents = (n for n in parse(home).body if isinstance(n, ast.ClassDef) and n.name == base)
        for parent in parents:
            found += _lineage(home, parent)
    return found


def resolve(kind: str, spelling: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A method's hyper-parameters: its defaults, then the dataset's settings, then what is spelled."""
    method, *pairs = spelling.split("+")
    chosen = dict(pair.split("~", 1) for pair in pairs)
    return _defaults(kind, method, settings) | _read(kind, method, chosen)


def canonical(kind: str, method: str, given: Mapping[str, Any], settings: Mapping[str, Any] | None) -> str:
    """The one spelling of a method: keys in field order, those equal to the resolved default left out."""
    defaults, chosen = _defaults(kind, method, settings), _read(kind, method, given)
    differing = [key for key in defaults if key in chosen and chosen[key] != defaults[key]]
    return "+".join([method, *(f"{key}~{fields.spelled(chosen[key])}" for key in differing)])


def _defaults(kind: str, method: str, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    own = {key: field.default for key, field in describe(kind, method).fields.items()}
    return own | _read(kind, method, (settings or {}).get(method, {}))


def _read(kind: str, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = describe(kind, method).fields
    for key in given:
        if key not in known:
            raise UserError(f"{method} has no {key!r}; it has: {listed(known)}")
    try:
        return {key: known[key].read(value) for key, value in given.items()}
    except UserError as error:
        raise UserError(f"{method}: {error}") from None


def make(kind: str, method: str, params: Mapping[str, Any]) -> Any:
    """The method itself, its file imported."""
    module = importlib.import_module(f"{ROOT.name}.{KINDS[kind].replace('/', '.')}.{method}")
    return getattr(module, describe(kind, method).class_name)(**_read(kind, method, params))
