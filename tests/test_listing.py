"""The catalog to read: nothing is left out, a default can be copied into a study, a typing error is one line."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkout import HERE

from workflow_scripts.common import catalog, config, docstrings, listing
from workflow_scripts.common.config import Config
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Field
from workflow_scripts.common.listing import KINDS, spell, write_listing

METHODS = [(kind, method) for kind in catalog.BASES for method in catalog.list_methods(kind)]


@pytest.fixture
def set_up() -> Config:
    """A configuration of three datasets, two of which have settings."""
    own = {"defenses": {"ft": {"lr": 0.1}}, "replace_models": {"preact_resnet18": "preact_small"}}
    read: dict[str, object] = {
        "studies": ["one"],
        "datasets": {
            "digits": {"loader": "digits"},
            "kept": {"loader": "digits", "reserve": 0.2},
            "mine": {"loader": "parquet", "file": "a.parquet"},
        },
        "settings": {"digits": own, "kept": {"defenses": {"ft": {"lr": 0.1, "epochs": 20}}}},
    }
    return config.read(read)


def all_fields() -> Iterator[tuple[str, str, Field]]:
    for kind, method in METHODS:
        for field in catalog.describe(kind, method).fields.values():
            yield kind, method, field


def parts_of(text: str) -> dict[str, list[str]]:
    """The lines of each part of a listing, by the part's first word without a colon."""
    parts = (part.splitlines() for part in text.split("\n\n") if part)
    return {lines[0].split()[0].rstrip(":"): lines[1:] for lines in parts}


def row_of(text: str, value: str) -> list[str]:
    """The columns behind a field's default, `lr: 0.01`, in a listing: its type, and what is set on datasets."""
    lines = ([column.strip() for column in re.split(" {2,}", line.strip())] for line in text.splitlines())
    (columns,) = (line[1:] for line in lines if line[0] == value)
    return columns


def run(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workflow_scripts", *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(HERE)})


def test_the_overview_has_a_line_for_every_method() -> None:
    parts = parts_of(write_listing([]))
    for kind in catalog.BASES:
        assert [line.split()[0] for line in parts[kind.upper()]] == list(catalog.list_methods(kind))
    lines = write_listing([]).splitlines()
    assert all(len(line) <= listing.WIDTH for line in lines) and len(lines) < 150
    assert list(parts)[len(KINDS) - 1] == "WRAPPERS", "which no study names"


def test_a_kind_has_every_field_of_its_methods_with_type_and_default() -> None:
    parts = {kind: parts_of(write_listing([kind])) for kind in catalog.BASES}
    for kind, method, field in all_fields():
        assert row_of("\n".join(parts[kind][method]), f"{field.name}: {spell(field.default)}")[0].startswith(str(field))


def test_a_default_that_is_copied_into_a_study_is_the_default() -> None:
    for kind, method, field in all_fields():
        copied = yaml.safe_load(f"{field.name}: {spell(field.default)}")[field.name]
        assert field.read(copied) == field.default, (kind, method, field.name)


def test_a_method_has_its_docstring_and_those_of_the_classes_that_it_has_fields_from() -> None:
    page = write_listing(["tsbd"])
    assert "(Lin, Liu, Wei, Li, Xiong; NeurIPS 2024, arXiv 2405.20291)" in page
    assert "Unveiling and Mitigating Backdoor Vulnerabilities" in page and "is handed: victim, holdout, run" in page
    assert "From HoldoutDefense:" in page and "holdout_size: a share of the number of training images" in page
    for kind, method in METHODS:
        told = docstrings.read_docstring(kind, method).splitlines()
        assert {f"  {line}" if line else "" for line in told} <= set(write_listing([method]).splitlines())


def test_a_name_in_two_kinds_is_shown_in_both() -> None:
    page = write_listing(["none"])
    assert "ATTACKS: none" in page and "DEFENSES: none" in page


def test_what_sets_a_method_apart_stands_beside_its_name() -> None:
    pages = {name: write_listing([name]).splitlines()[0] for name in ("clean", "sig", "wanet", "tsbd")}
    assert pages["clean"] == "DEFENSES: clean [control]" and pages["sig"] == "ATTACKS: sig [clean-label]"
    assert pages["wanet"] == "ATTACKS: wanet [controls training]" and pages["tsbd"] == "DEFENSES: tsbd"


def test_settings_of_datasets_stand_beside_the_default(set_up: Config) -> None:
    page = write_listing(["ft"], set_up)
    assert row_of(page, "lr: 0.01") == ["a number above 0", "digits, kept: 0.1"]
    assert row_of(page, "epochs: 100") == ["a whole number at least 0 and at most 1000000", "kept: 20"]
    assert row_of(page, "batch_size: 256") == ["a whole number at least 1 and at most 1000000"]
    assert row_of(write_listing(["parquet"], set_up), "file: ''") == ["a line of text", "mine: a.parquet"]
    assert "digits: preact_small" in write_listing(["models"], set_up)


def test_a_dataset_beside_a_method_chooses_whose_settings_are_shown(set_up: Config) -> None:
    page = write_listing(["ft", "digits"], set_up)
    assert row_of(page, "lr: 0.01")[1:] == ["digits: 0.1"] and row_of(page, "epochs: 100")[1:] == []


def test_a_dataset_alone_shows_the_fields_that_it_sets(set_up: Config) -> None:
    parts = parts_of(write_listing(["kept"], set_up))
    assert [line.split()[0] for line in parts["DEFENSES"]] == ["epochs:", "lr:"]
    page = write_listing(["kept"], set_up)
    assert "kept: {loader: digits, reserve: 0.2}" in page and row_of(page, "reserve: 0.0")[1:] == ["kept: 0.2"]
    assert "On mine all methods have their defaults." in write_listing(["mine"], set_up)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tsdb", "near it: tsbd"),
        ("Defense", "near it: defenses"),
        ("diggits", "digits"),
        ("qqqq", "the kinds are: dat"),
    ],
)
def test_an_unknown_name_says_what_there_is(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        write_listing(["fp", name])


@pytest.mark.parametrize(
    ("paper", "short"),
    [
        ("Lin, Liu, Wei; NeurIPS 2024, arXiv 2405.20291, figure 4", "Lin et al., NeurIPS 2024"),
        ("Gu, Dolan-Gavitt, Garg; arXiv 1708.06733, 2017", "Gu et al., 2017"),
        ("Nguyen, Tran; ICLR 2021, arXiv 2102.10369", "Nguyen, Tran, ICLR 2021"),
        ("ICLR 2025 submission yJ, withdrawn; no code", "ICLR 2025 submission yJ"),
        ("Doe; arXiv 2010.11929", "Doe; arXiv 2010.11929"),
    ],
)
def test_a_paper_in_short(paper: str, short: str) -> None:
    assert docstrings.find_paper(f"It does (so) what (x) says ({paper}). More (A, B; C 1999).") == paper
    assert docstrings.shorten_paper(paper) == short


def test_the_command_reads_the_configuration_where_there_is_one(tmp_path: Path) -> None:
    without = run(tmp_path, "ft")
    assert without.returncode == 0 and without.stdout == write_listing(["ft"]) + "\n"
    (tmp_path / "config.yaml").write_text("studies: [a]\ndatasets: {mine: {loader: digits}}\nsettings: {mine: {}}\n")
    assert "mine" in run(tmp_path, "mine").stdout
    (tmp_path / "config.yaml").write_text("")
    assert run(tmp_path).stderr == "backstop: config: studies is empty; it must name something\n"
    for wrong in (b"studies: [a", b"studies: [\xff]", b"[" * 3000):
        (tmp_path / "config.yaml").write_bytes(wrong)
        stderr = run(tmp_path).stderr
        assert stderr.startswith("backstop: config.yaml: not YAML: ") and stderr.count("\n") == 1


def test_an_unknown_name_is_one_line_and_no_success(tmp_path: Path) -> None:
    done = run(tmp_path, "tsdb")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "backstop: no kind, method or dataset 'tsdb'; near it: tsbd, gtsrb\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command, pipe = [sys.executable, "-m", "workflow_scripts", *KINDS], subprocess.PIPE
    with subprocess.Popen(command, cwd=HERE, stdout=pipe, stderr=pipe) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_command_never_imports_torch() -> None:
    code = "import runpy, sys; sys.argv = ['', *sys.argv[1:]]; runpy.run_module('workflow_scripts'); "
    code += "print([name for name in ('torch', 'pandas', 'numpy') if name in sys.modules])"
    command = [sys.executable, "-c", code, "defenses", "digits"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
