"""BackdoorBench's files of defenses without what they import."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

from benchmarks.compare_tsbd import executed

STUBBED = ("utils", "defense", "models", "cv2")
"""The packages whose modules official files ask for and their loops do without."""


def load(checkout: Path, name: str, real: tuple[str, ...] = ()) -> ModuleType:
    """The module `defense/NAME.py`, what it imports of STUBBED replaced by stubs: its class derives from nothing. Of
    the modules and packages in `real`, `utils.defense_utils.sam` say, it gets the checkout's own."""
    path = checkout / "defense" / f"{name}.py"
    for imported in _imported(path):
        _put(imported, MagicMock())
    sys.modules["defense.base"].defense = object  # type: ignore[attr-defined]
    with patch.object(sys, "path", list(sys.path)):
        for imported in real:
            _put_real(imported, checkout / imported.replace(".", "/"))
        return executed(path)


def _imported(path: Path) -> Iterator[str]:
    """The modules of STUBBED that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.split(".")[0] in STUBBED)


def _put_real(name: str, path: Path) -> None:
    """Run the package in the folder `path`, or else the file of this name."""
    file, parts = (path / "__init__.py", [str(path)]) if path.is_dir() else (path.with_suffix(".py"), None)
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=parts)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    _put(name, module)
    spec.loader.exec_module(module)


def _put(name: str, module: Any) -> None:
    """Make it what an import of this name finds, by way of its parents too."""
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        if not isinstance(sys.modules.get(parent), MagicMock):
            _put(parent, MagicMock())
        setattr(sys.modules[parent], child, module)
