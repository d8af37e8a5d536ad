"""A hash of the code that an artifact depends on: Snakemake does not see edits to a library behind a script."""

import ast
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.common.catalog import ROOT, imported, source


def of_code(step: str, *methods: tuple[str, str]) -> str:
    """Of a step's script, the named (kind, method) files, and all project files that these import.

    Docstrings and comments are left out: explaining something is no reason to compute it again.
    """
    return _of_files(frozenset([ROOT / f"{step}.py", *(source(kind, name) for kind, name in methods)]))


def of_artifact(code: str, params: Mapping[str, Any]) -> str:
    """Of code and resolved hyper-parameters together: what an artifact must carry not to be stale."""
    return hashlib.sha256(f"{code} {json.dumps(params, sort_keys=True)}".encode()).hexdigest()[:16]


@functools.cache
def _of_files(roots: frozenset[Path]) -> str:
    files = frozenset().union(*map(_reachable, roots))
    digests = sorted(f"{file.relative_to(ROOT)} {_digest(file)}" for file in files)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


@functools.cache
def _reachable(root: Path) -> frozenset[Path]:
    seen: set[Path] = set()
    todo = [root]
    while todo:
        if (path := todo.pop()) not in seen:
            seen.add(path)
            todo += imported(path).values()
    return frozenset(seen)


@functools.cache
def _digest(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))  # a tree of our own: its docstrings are taken out
    for node in ast.walk(tree):
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                node.body = rest or [ast.Pass()]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
