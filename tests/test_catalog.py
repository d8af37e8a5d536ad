"""A contributor's file that cannot be read, or that would be in the way of others, is one line with its name."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from workflow_scripts.common import catalog, source
from workflow_scripts.common.errors import UserError

METHOD = '''"""It does nothing."""
from dataclasses import dataclass

from workflow_scripts.{kind} import {base}
{imports}

@dataclass(frozen=True)
class Mine({base}):
    """It does nothing."""

    {field}
'''


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the library, which the catalog reads."""
    root = tmp_path / "workflow_scripts"
    shutil.copytree(source.ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    for module in (source, catalog):
        monkeypatch.setattr(module, "ROOT", root)
    catalog.describe.cache_clear()
    yield root
    catalog.describe.cache_clear()


@pytest.mark.parametrize(
    ("file", "parts", "said"),
    [
        (
            "defenses/mine.py",
            {"field": "weight: float | None = None"},
            "defenses/mine.py: the field weight is annotated as float | None; there are: int, float",
        ),
        ("defenses/mine.py", {"field": "lengths: tuple[float, ...] = (1.0,)"}, "annotated as tuple[float, ...]"),
        (
            "defenses/mine.py",
            {"field": "share: float = 1 / 3"},
            "defenses/mine.py: the default of share is 1 / 3; it must be written out",
        ),
        (
            "defenses/mine.py",
            {"imports": "from workflow_scripts.defences import Defense"},
            "workflow_scripts/defenses/mine.py, line 5: from workflow_scripts.defences import Defense: there is no",
        ),
        ("defenses/mine.py", {"imports": "from ._share import x"}, "line 5: from ._share import x: write it as `from"),
        ("defenses/mine.py", {"imports": "import workflow_scripts.units as u"}, "no other form is followed"),
        ("defenses/mine.py", {"imports": "from workflow_scripts.units import *"}, "no other form is followed"),
        ("defenses/retrained.py", {}, "defenses/retrained.py: its results would lie where others do"),
        ("detectors/abl.py", {}, "detectors/abl.py: its results would lie where others do"),
        ("datasets/mine.py", {"field": 'file: str = ""'}, "datasets/mine.py: it reads files and has no method"),
    ],
)
def test_a_file_that_is_in_the_way_is_named(library: Path, file: str, parts: dict[str, str], said: str) -> None:
    kind = Path(file).parent.name
    given = {"field": "share: float = 0.5", "imports": "", "kind": kind, "base": catalog.BASES[kind]} | parts
    catalog.check_methods()
    (library / file).write_text(METHOD.format(**given))
    with pytest.raises(UserError) as error:
        catalog.check_methods()
    assert said in str(error.value)
