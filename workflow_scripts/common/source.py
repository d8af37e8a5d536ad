"""The project's own source as syntax trees: what a file defines, what it imports, what a class derives from."""

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

from workflow_scripts.common.errors import UserError, join_names

ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def parse_source(path: Path) -> ast.Module:
    """The syntax tree of a file of this project. UserError if it is no Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{path.relative_to(ROOT.parent)}{line}: no Python: {getattr(error, 'msg', error)}") from None


@functools.cache
def imported_names(path: Path) -> dict[str, Path]:
    """Names that a file imports from this project at its top, each with the file that defines it."""
    return {bound: home for bound, home, _ in find_imports(path, parse_source(path).body)}


def find_imports(path: Path, nodes: Iterable[ast.AST]) -> Iterator[tuple[str, Path, str]]:
    """What the imports of this project's code among these nodes of a file bind: a name, the file that it is of, and
    the name there, `` for the file itself. UserError for one in a form that is not followed, or of nothing."""
    for node in filter(_is_own, nodes):
        if not isinstance(node, ast.ImportFrom) or node.level or any(alias.name == "*" for alias in node.names):
            raise _refuse(path, node, f"write it as `from {ROOT.name}.… import …`: no other form is followed")
        base = ROOT.parent.joinpath(*(node.module or "").split("."))
        for alias in node.names:
            file = base / f"{alias.name}.py"
            home = next(
                (place for place in (file, base.with_suffix(".py"), base / "__init__.py") if place.exists()), None
            )
            if home is None:
                raise _refuse(path, node, f"there is no {base.relative_to(ROOT.parent)}")
            yield alias.asname or alias.name, home, "" if home == file else alias.name


def _is_own(node: ast.AST) -> bool:
    """Whether a node imports this project's code."""
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or (node.module or "").split(".")[0] == ROOT.name
    return isinstance(node, ast.Import) and any(alias.name.split(".")[0] == ROOT.name for alias in node.names)


def _refuse(path: Path, node: ast.AST, reason: str) -> UserError:
    place = f"{path.relative_to(ROOT.parent)}, line {getattr(node, 'lineno', 0)}"
    return UserError(f"{place}: {ast.unparse(node)}: {reason}")


def find_method_class(path: Path, base: str) -> ast.ClassDef:
    """The one dataclass of a method's file that derives from the base of its kind, not counting those that another of
    them derives from."""
    nodes = [n for n in parse_source(path).body if isinstance(n, ast.ClassDef) and _is_dataclass(n)]
    derived = [n for n in nodes if not base or any(owner.name == base for _, owner in find_lineage(path, n))]
    parents = {owner.name for n in derived for _, owner in find_lineage(path, n)[1:]}
    found = [n for n in derived if n.name not in parents]
    if len(found) != 1:
        wanted = f"one dataclass that derives from {base}" if base else "one dataclass"
        raise UserError(
            f"{path.parent.name}/{path.name}: it must define {wanted}; it has {join_names(n.name for n in found)}"
        )
    return found[0]


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def find_lineage(path: Path, node: ast.ClassDef) -> list[tuple[Path, ast.ClassDef]]:
    """The class and the project's classes that it inherits from, nearest first, each with its file."""
    found = [(path, node)]
    for base in (ast.unparse(b) for b in node.bases):
        home = imported_names(path).get(base, path)
        parents = (n for n in parse_source(home).body if isinstance(n, ast.ClassDef) and n.name == base)
        for parent in parents:
            found += find_lineage(home, parent)
    return found


def resolve_alias(path: Path, annotation: ast.expr) -> ast.expr:
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
