"""The house itself: imports run one way, planning never needs torch, and each registry keeps its own company."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.arguments import ARGUMENTS, NAMED, READERS
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.source import ROOT, parse_source

ORDER = (
    *("common", "networks", "jobs", "training", "techniques", "units"),
    *("datasets", "models", "wrappers", "auxiliaries", "attacks", "detectors", "defenses"),
    *("evaluation", "analyses", "reporting", "figures"),
)
"""The folders, each above those that it may import from."""


def imports_of(path: Path) -> set[str]:
    """The folders, and the files at the top, that a file imports from, wherever in it."""
    found = set()
    for node in ast.walk(parse_source(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{ROOT.name}."):
            found.add((node.module or "").split(".")[1])
        if isinstance(node, ast.ImportFrom) and node.module == ROOT.name:
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("folder", ORDER)
def test_imports_run_one_way(folder: str) -> None:
    allowed = set(ORDER[: ORDER.index(folder) + 1])
    upward = {path.name: imports_of(path) - allowed for path in (ROOT / folder).glob("*.py")}
    assert not {name: folders for name, folders in upward.items() if folders}


def test_every_folder_has_its_place() -> None:
    assert {path.parent.name for path in ROOT.glob("*/*.py")} == set(ORDER)
    assert set(catalog.BASES) <= set(ORDER)


def test_common_never_imports_torch() -> None:
    modules = ", ".join(f"{ROOT.name}.common.{path.stem}" for path in (ROOT / "common").glob("[a-z]*.py"))
    code = f"import sys, {modules}; print([m for m in ('torch', 'pandas', 'torchvision') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "[]"


def test_every_reader_that_an_argument_names_exists() -> None:
    tree = parse_source(ROOT.parent / f"{READERS.replace('.', '/')}.py")
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    public = {name for name in functions if not name.startswith("_")}
    assert {argument.reader for argument in ARGUMENTS.values()} | set(NAMED.values()) == public


def write(folder: Path, kind: str, name: str, text: str) -> None:
    (folder / kind).mkdir(exist_ok=True)
    (folder / kind / f"{name}.py").write_text(text)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalog, "ROOT", tmp_path)
    catalog.describe.cache_clear()
    return tmp_path


BASE = "class Attack: ...\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("@dataclass\nclass A:\n    pass\n", "must define one dataclass that derives from Attack; it has nothing"),
        (BASE + "@dataclass\nclass A(Attack): ...\n@dataclass\nclass B(Attack): ...\n", "it has A, B"),
        (
            BASE + "@dataclass\nclass A(Attack):\n    def __call__(self, train, clean_victim): ...\n",
            "add `surrogate: ModelName",
        ),
        (BASE + "@dataclass\nclass A(Attack):\n    def __call__(self, victim): ...\n", "may not ask for 'victim'"),
    ],
)
def test_a_file_that_is_no_method_says_why(library: Path, source: str, message: str) -> None:
    write(library, "attacks", "odd", source)
    with pytest.raises(UserError, match=message):
        catalog.describe("attacks", "odd")


def test_a_file_may_hold_other_dataclasses_and_aliases(library: Path) -> None:
    source = (
        BASE + "Side = Literal['left', 'right']\n@dataclass\nclass Helper:\n    a: int = 1\n"
        "@dataclass\nclass Base(Attack):\n    side: Side = 'left'\n@dataclass\nclass Real(Base):\n    n: int = 2\n"
    )
    write(library, "attacks", "odd", source)
    found = catalog.describe("attacks", "odd")
    assert found.class_name == "Real" and set(found.fields) == {"side", "n"}
    assert found.fields["side"].choices == ("left", "right")


def test_a_field_may_name_only_what_there_is() -> None:
    with pytest.raises(UserError, match="extractor is 'simclrr', which is none of the auxiliaries; near it: simclr"):
        spellings.resolve("models", "probe+extractor~simclrr")


def test_a_model_and_an_auxiliary_of_one_name_have_settings_of_their_own() -> None:
    settings = {"auxiliaries": {"resnet18": {"size": 64}}, "models": {"preact_small": {"width": 8}}}
    assert spellings.resolve("auxiliaries", "resnet18", settings)["size"] == 64
    assert spellings.resolve("models", "preact_small", settings)["width"] == 8
