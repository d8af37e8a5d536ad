"""A job's fingerprint covers what the job executes, and nothing that it cannot reach."""

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import HERE, TINY, copy_of_checkout, snakemake

from workflow_scripts.common import config, fingerprint, source, spellings
from workflow_scripts.common.arguments import STEPS
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fingerprint import PLANNING, find_reachable
from workflow_scripts.common.plan import Planner, Wildcards
from workflow_scripts.common.source import ROOT, parse_source

RECORDER = '''
"""Imported at the start of every Python process: records which functions of the library a job's script calls."""
import atexit, json, os, sys

ROOT, FOLDER, seen, known = os.environ["RECORDED"], os.environ["RECORDS"], set(), {}


def watch(frame, event, argument):
    """Notes functions, but no bodies of classes and no comprehensions of modules, which run when they are imported."""
    code = frame.f_code
    if id(code) not in known:
        known[id(code)] = code
        if code.co_flags & 1 and code.co_filename.startswith(ROOT) and code.co_qualname[0] != "<":
            seen.add((code.co_filename[len(ROOT) + 1 :], code.co_firstlineno))


def write():
    sys.settrace(None)
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if job is not None:
        about = {"rule": job.rule, "wildcards": dict(job.wildcards.items()), "seen": sorted(seen)}
        about["pandas"] = "pandas" in sys.modules
        with open(os.path.join(FOLDER, f"{os.getpid()}.json"), "w") as file:
            json.dump(about, file)


sys.settrace(watch)    # without line events: it is told of Python's calls only
atexit.register(write)
'''
STUDY: dict[str, Any] = {  # each defense once, each kind of model, an attack of each kind; no more, for it is slow
    "grid": [
        TINY["grid"]
        | {
            "attack": "badnets",
            "defense": [
                "none",
                "fp",
                "tsbd",
                "anp",
                "fmp",
                "clp",
                "eigenguard",
                "hid",
                "filter",
                "rnp",
                "ep",
                "bnp",
                "mcr",
            ],
        },
        TINY["grid"] | {"attack": "wanet", "defense": ["none", "plain"]},
        TINY["grid"] | {"attack": "ssba", "defense": "none"},
        TINY["grid"] | {"model": "probe+extractor~supervised", "attack": "badnets", "defense": ["none", "holder"]},
    ],
    "table": {"rows": "attack", "columns": ["model", "defense"]},
    "figure": "heatmap",
    "analysis": "triggers",
}
STEP_OF_RULE = {"retrain": "train", "train_poisoned_auxiliary": "train_auxiliary"}
NEED_PANDAS = {"prepare_data", "tabulate", "plot", "collect"}  # scikit-learn, which has the digits, imports it


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of each job of a study: its rule, its wildcards and the places of the functions that it called."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("recorded"))
    (folder / "studies/tiny.yaml").write_text(yaml.safe_dump(STUDY))
    recorder, kept = tmp_path_factory.mktemp("recorder"), tmp_path_factory.mktemp("records")
    (recorder / "sitecustomize.py").write_text(RECORDER)
    hook = {"PYTHONPATH": str(recorder), "RECORDED": str(folder / "workflow_scripts"), "RECORDS": str(kept)}
    snakemake(folder, environment=os.environ | hook)
    return [json.loads(path.read_text()) for path in sorted(kept.iterdir())]


@pytest.fixture(scope="module")
def planner() -> Planner:
    return Planner(config.read(yaml.safe_load((HERE / "config.yaml").read_text())))


def covered(record: dict[str, Any], planner: Planner) -> frozenset[fingerprint.Definition]:
    """The definitions that a job's fingerprint covers."""
    step, wildcards = STEP_OF_RULE.get(record["rule"], record["rule"]), record["wildcards"]
    if step in STEPS:
        return find_reachable(planner.code(step, Wildcards(**wildcards)))
    methods = [("figures", spellings.method_name(wildcards["figure"]))] if step == "plot" else []
    return find_reachable(frozenset(fingerprint.find_roots(step, *methods)))


def definition_at(path: Path, line: int) -> str:
    """The name at the top of a file whose definition has this line; `` where it has none."""
    for node in parse_source(path).body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        if first <= line <= (node.end_lineno or first):
            names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            return getattr(node, "name", names[0] if names else "")
    return ""


def test_every_function_that_a_job_calls_is_in_its_fingerprint(records: list[dict[str, Any]], planner: Planner) -> None:
    assert {record["rule"] for record in records} >= {*STEPS, "retrain", "collect", "tabulate", "plot"}
    seen = {name for record in records for name, _ in record["seen"] if record["rule"] == "defend"}
    assert {"training/loop.py", "units/layers.py", "networks/model.py", "jobs/readers.py"} <= seen
    missing = set()
    for record in records:
        reached = covered(record, planner)
        for name, line in record["seen"]:
            path = ROOT / name
            definition = (path, definition_at(path, line))
            if path not in PLANNING and definition not in reached:
                missing.add((record["rule"], *record["wildcards"].values(), name, definition[1]))
    assert not missing, "\n".join(map(str, sorted(missing)))


def test_jobs_that_make_no_report_import_no_pandas(records: list[dict[str, Any]]) -> None:
    assert {record["rule"] for record in records if record["pandas"]} <= NEED_PANDAS


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small library in place of the project's."""
    root = tmp_path / "workflow_scripts"
    sources = {
        "__init__.py": "",
        "defend.py": "from workflow_scripts.loop import train\ntrain()\n",
        "loop.py": "from workflow_scripts import shared\nLR = 1\n\n\ndef train():\n    return shared.step(LR)\n",
        "shared.py": '"""Shared."""\n\ndef step(lr):\n    """Step."""\n    return lr\n\n\ndef other():\n    return 0\n',
    }
    root.mkdir()
    for name, text in sources.items():
        (root / name).write_text(text)
    for module in (fingerprint, source):
        monkeypatch.setattr(module, "ROOT", root)
    clear()
    yield root
    clear()


def clear() -> None:
    """Forget what was read of the sources."""
    for function in (parse_source, fingerprint._read_source, fingerprint._find_references, fingerprint._digest):
        function.cache_clear()
    for function in (fingerprint._strip_texts, fingerprint.find_reachable, fingerprint.of_code):
        function.cache_clear()


def digest_after(library: Path, file: str, old: str, new: str) -> str:
    """The fingerprint of the step `defend` when this has been edited."""
    path = library / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    clear()
    return fingerprint.of_step("defend")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("shared.py", "return 0", "return 1"),  # a function that the step cannot reach
        ("shared.py", "def other", "def third():\n    return 3\n\n\ndef other"),
        ("shared.py", '"""Step."""', '"""One step."""'),
        ("shared.py", "return lr", "return lr    # as given"),
        ("loop.py", "LR = 1\n", 'LR = 1\n"""How fast."""\n'),
    ],
)
def test_what_cannot_change_a_number_changes_no_fingerprint(library: Path, file: str, old: str, new: str) -> None:
    before = fingerprint.of_step("defend")
    assert digest_after(library, file, old, new) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("shared.py", "return lr", "return lr + 1"),
        ("loop.py", "LR = 1", "LR = 2"),
        ("loop.py", "LR = 1", "LR = 1\nLR += 1"),
        ("loop.py", "shared.step", "shared.other"),
        ("loop.py", "shared.step(LR)", "getattr(shared, 'oth' + 'er')()"),  # then all that `shared` defines counts
        ("shared.py", '"""Shared."""', "import torch\ntorch.set_num_threads(2)"),  # what it does when it is imported
        ("defend.py", "train()\n", "train()\ntrain()\n"),
    ],
)
def test_what_may_change_a_number_changes_the_fingerprint(library: Path, file: str, old: str, new: str) -> None:
    before = fingerprint.of_step("defend")
    assert digest_after(library, file, old, new) != before


def test_a_module_that_is_passed_on_is_reached_as_a_whole(library: Path) -> None:
    first = digest_after(library, "loop.py", "shared.step(LR)", "vars(shared)['other']()")
    assert digest_after(library, "shared.py", "return 0", "return 1") != first


def test_an_import_that_is_not_followed_is_refused(library: Path) -> None:
    """It would hide what it reaches, within a function too."""
    with pytest.raises(UserError, match=r"workflow_scripts/loop.py, line \d+: from . import shared: write it as"):
        digest_after(library, "loop.py", "shared.step(LR)", "__import__('os')\n    from . import shared")


def test_what_a_job_asks_of_a_name_is_in_its_fingerprint() -> None:
    """Whether a defense is a control decides where its column stands."""
    reached = find_reachable(frozenset(fingerprint.find_roots("collect")))
    assert {"is_control", "at_random"} <= {name for path, name in reached if path.name == "spellings.py"}


def test_the_largest_holdout_is_no_matter_of_the_images(planner: Planner) -> None:
    """A larger one would train every victim again."""
    w = Wildcards(dataset="digits", seed="0")
    assert "holdout" not in planner.made("prepare_data", w)["params"]["dataset"]
    assert "holdout" in planner.made("draw_holdout", w)["params"]["dataset"]


def test_cells_of_two_seeds_are_made_by_different_things(planner: Planner) -> None:
    cell = {"dataset": "digits", "attack": "badnets", "ratio": "0.1", "model": "preact_small", "defense": "ft"}
    first, second = (planner.made("defend", Wildcards(**cell, seed=seed)) for seed in ("0", "1"))
    assert first["fingerprint"] == second["fingerprint"] and first["params"] == second["params"] and first != second
