"""A hash of the code that an artifact depends on: Snakemake does not see edits to a library behind a script.

It covers the definitions (functions, classes, constants) that a job's code can reach by name, docstrings and comments
left out. What is found by a name that is text (a method of a registry, the reader of an argument) is named by the plan.
A module that is passed on as a value is reached as a whole, and where a name may mean a local variable or a definition,
it means both: a rerun too many does less harm than a stale number.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workflow_scripts.common.arguments import READERS
from workflow_scripts.common.catalog import describe, source_file
from workflow_scripts.common.source import ROOT, find_imports, parse_source

PLANNING = frozenset(
    ROOT / "common" / f"{name}.py"
    for name in (
        "arguments",
        "catalog",
        "config",
        "fields",
        "fingerprint",
        "grid",
        "plan",
        "source",
        "studies",
    )
)
"""What these decide reaches a job as its parameters and inputs."""
Definition = tuple[Path, str]
"""A file, and a name at its top; `` for what the file does when it is imported, `*` for all that it defines."""


@functools.cache
def of_code(start: frozenset[Definition]) -> str:
    """Of all that these definitions can reach."""
    digests = sorted(f"{file.relative_to(ROOT)} {name} {_digest(file, name)}" for file, name in find_reachable(start))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def of_step(step: str, *methods: tuple[str, str]) -> str:
    """Of a step's script and of the named (kind, method)s."""
    return of_code(frozenset(find_roots(step, *methods)))


def find_roots(step: str, *methods: tuple[str, str], readers: tuple[str, ...] = ()) -> Iterator[Definition]:
    """Where a job's code begins: the step's script, the classes of the named (kind, method)s, the named functions of
    jobs/readers.py."""
    yield ROOT / f"{step}.py", "*"
    for kind, name in methods:
        yield source_file(kind, name), describe(kind, name).class_name
    for reader in readers:
        yield ROOT.parent / f"{READERS.replace('.', '/')}.py", reader


@functools.cache
def find_reachable(start: frozenset[Definition]) -> frozenset[Definition]:
    """The definitions that these can reach, themselves among them, but for those of planning code."""
    seen: set[Definition] = set()
    todo = list(start)
    while todo:
        if (definition := todo.pop()) not in seen and definition[0] not in PLANNING:
            seen.add(definition)
            todo += _find_references(*definition)
    return frozenset(seen)


@dataclass
class _Source:
    """A file's definitions by name, what it does on import, and what its imports bind, by name: a file, and there a
    name, `` for the file itself."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)
    imports: dict[str, Definition] = field(default_factory=dict)


@functools.cache
def _read_source(path: Path) -> _Source:
    found = _Source(imports=_find_bindings(path, parse_source(path).body))
    for node in parse_source(path).body:
        names = _find_defined(node)
        for name in names:
            found.definitions.setdefault(name, []).append(node)
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not names and not is_text and not isinstance(node, ast.Import | ast.ImportFrom) and not _is_for_types(node):
            found.effects.append(node)
    return found


def _find_defined(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a file defines or adds to: `KINDS["x"] = 1` adds to `KINDS`."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
    return []


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _find_bindings(path: Path, nodes: Iterable[ast.AST]) -> dict[str, Definition]:
    """What the imports of this project's code among these nodes of a file bind."""
    return {bound: (home, name) for bound, home, name in find_imports(path, nodes)}


@functools.cache
def _find_references(path: Path, name: str) -> frozenset[Definition]:
    """The definitions that one of them names, directly."""
    source = _read_source(path)
    if name == "*":
        return frozenset({(path, ""), *((path, known) for known in source.definitions)})
    nodes = source.effects if name == "" else source.definitions.get(name, [])
    found = {(path, "")} if name else {(home, "") for home, _ in source.imports.values()}
    found.add((path.parent / "__init__.py", ""))
    for node in nodes:
        inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
        bound = source.imports | _find_bindings(path, inner)
        found |= {(home, "") for home, _ in bound.values()} if inner else set()
        found |= set(_find_names(node, bound, path, source))
    return frozenset(found)


def _find_names(node: ast.stmt, bound: Mapping[str, Definition], path: Path, source: _Source) -> Iterator[Definition]:
    attributes = {id(n.value): n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in bound:
            home, name = bound[part.id]
            yield home, name or attributes.get(id(part), "*")  # a module that is passed on is all that it defines
        elif isinstance(part, ast.Name) and part.id in source.definitions:
            yield path, part.id


@functools.cache
def _digest(path: Path, name: str) -> str:
    """Of what a definition says, docstrings left out; nothing for `*`, whose parts are reached by themselves."""
    source = _read_source(path)
    nodes = source.effects if name == "" else source.definitions.get(name, [])
    return hashlib.sha256("\n".join(map(_strip_texts, nodes)).encode()).hexdigest()


@functools.cache
def _strip_texts(node: ast.AST) -> str:
    """The code of a node without the texts that stand by themselves, which explain."""
    tree = ast.parse(ast.unparse(node))
    for part in ast.walk(tree):
        if isinstance(body := getattr(part, "body", None), list):
            kept = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            part.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)
