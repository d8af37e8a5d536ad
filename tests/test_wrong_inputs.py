"""Whatever a user writes or a disk does to a file: it is used as it is written, or refused in a line that says where."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st
from snakemake.cli import parse_config, update_config
from wrong import REFUSED, VALUES, ask, changed, damaged, find, inputs, is_same, places

from workflow_scripts.common import catalog, config, documents, studies
from workflow_scripts.common.cells import Asked, Study
from workflow_scripts.common.config import Config
from workflow_scripts.common.grid import expand_grid

HERE = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((HERE / "config.yaml").read_text()) | {"studies": ["one"]}
STUDY: dict[str, Any] = {
    "title": "A small one",
    "grid": [
        {
            "dataset": ["digits", "digits_reserve"],
            "model": ["preact_small", {"preact_small": {"blocks": [[1, 2], "2x2"], "flip": True}}],
            "attack": ["none", {"wanet": {"s": [0.5, "1.5"]}}],
            "ratio": [0.05, "1e-1"],
            "seed": [0, 7],
            "defense": ["none", "ft+lr~0.05", {"clp": {"u": [2, 3.25]}, "hid": {"hidden": "64x32"}}],
        },
        {
            "dataset": "digits",
            "model": {"probe": {"extractor": ["simclr", "supervised"]}},
            "attack": "sig",
            "ratio": 0.08,
            "seed": 1,
            "defense": ["none", {"tsbd": {"n": 0.3, "finetune": ["none", "vanilla"]}}, {"filter": {"by": "ss"}}],
        },
    ],
    "table": [
        {"rows": ["dataset", "attack", "ratio"], "columns": ["model", "defense"], "values": ["acc", "asr"]},
        {"kind": "paired", "against": "none", "rows": ["dataset", "attack", "ratio"], "columns": ["model", "defense"]},
    ],
    "figure": ["heatmap", {"kind": "triggers", "examples": 2}],
    "analysis": ["neuron_scores", {"name": "sweep", "holdout_size": 0.1, "percents": [0, 10, 20]}],
}
AXES = {"model": "models", "attack": "attacks", "defense": "defenses"}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of studies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "FOLDER", tmp_path_factory.mktemp("studies"))
        yield studies.FOLDER


def one_or_more(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def check_config(raw: dict[str, Any], found: Config) -> None:
    """The configuration says what was written, and nothing less."""
    assert list(found.studies) == one_or_more(raw["studies"]) and found.dataset == raw.get("dataset")
    for key, default in (("partial", False), ("keep_models", True)):
        assert is_same(raw.get(key, default), getattr(found, key))
    assert list(found.datasets) == list(raw["datasets"]) and set(found.settings) == set(raw.get("settings", {}))
    for name, entry in raw["datasets"].items():
        loader, fields = found.loader(name)
        read = {**fields, "loader": loader, "reference": found.reference(name)}
        assert all(is_same(value, read[key]) for key, value in entry.items())
    for name, settings in raw.get("settings", {}).items():
        read = found.settings_of(name)
        assert set(read) == set(settings)
        for kind, method in ((kind, method) for kind in settings for method in settings[kind]):
            if kind in config.REPLACED:
                assert is_same(settings[kind][method], read[kind][method])
            else:
                check_fields(settings[kind][method], catalog.resolve(kind, method, read))


def check_fields(given: dict[str, Any], found: dict[str, Any]) -> None:
    """What was given to a method stands in its fields."""
    for key, value in given.items():
        assert is_same(value, found[key]), (key, value, found[key])


@inputs(300)
@given(changed(CONFIG))
def test_a_configuration(raw: Any) -> None:
    found = ask(lambda: config.read(raw), "config")
    event("refused" if found is REFUSED else "read")
    if found is not REFUSED:
        check_config(raw, found)


LINES = st.one_of(
    VALUES.map(str),
    VALUES.map(lambda value: yaml.safe_dump(value, default_flow_style=True, width=math.inf)),
    changed(CONFIG["datasets"]).map(lambda value: yaml.safe_dump(value, default_flow_style=True, width=math.inf)),
    changed(CONFIG["settings"]).map(lambda value: yaml.safe_dump(value, default_flow_style=True, width=math.inf)),
    st.sampled_from(["digits", "[one, o*]", "true", "{}", "[]", ""]),
)


@inputs(150)
@given(st.lists(st.tuples(st.sampled_from(config.KEYS), LINES), min_size=1, max_size=2))
def test_what_the_command_line_sets(pairs: list[tuple[str, str]]) -> None:
    """As Snakemake hands it on, above what the file says."""
    try:
        told = parse_config([f"{key}={text}" for key, text in pairs])
    except (AssertionError, RecursionError):  # Snakemake's own refusal
        return
    raw: dict[str, Any] = {}
    update_config(raw, CONFIG)
    try:
        update_config(raw, told)
    except Exception:  # a text in the place of a mapping is Snakemake's, too
        return
    found = ask(lambda: config.read(raw), "config")
    event("refused" if found is REFUSED else "read")
    if found is not REFUSED:
        check_config(raw, found)


def list_entries(kind: str, entry: Any) -> list[tuple[str, dict[str, Any]]]:
    """The methods that an entry of an axis asks for, each with one value of each field."""
    if isinstance(entry, str):
        name, *pairs = entry.split("+")
        return [(name, dict(pair.split("~", 1) for pair in pairs))]
    found = []
    for name, fields in entry.items():
        lists = [list_values(kind, name, key, value) for key, value in fields.items()]
        found += [(name, dict(zip(fields, values, strict=True))) for values in itertools.product(*lists)]
    return found


def list_values(kind: str, name: str, key: str, value: Any) -> list[Any]:
    """A list of numbers is one value of a field that is such a list."""
    several = [part for part in value if isinstance(part, list | str)] if isinstance(value, list) else []
    is_one = catalog.describe(kind, name).fields[key].type is tuple and not several
    return [value] if is_one else one_or_more(value)


def check_grid(grid: dict[str, Any], asked: set[Asked], read: Config) -> None:
    """Each combination of what the axes list is a cell, of just those values, and there is no other."""
    datasets, ratios, seeds = (one_or_more(grid[axis]) for axis in ("dataset", "ratio", "seed"))
    entries = {
        axis: [e for entry in one_or_more(grid[axis]) for e in list_entries(kind, entry)] for axis, kind in AXES.items()
    }
    attacked = [entry for entry in entries["attack"] if entry[0] != "none"]
    count = len(datasets) * len(seeds) * len(entries["model"]) * len(entries["defense"])
    assert len(asked) == count * (len(attacked) * len(ratios) + len(entries["attack"]) - len(attacked))
    assert {cell.dataset for cell, _ in asked} == set(datasets)
    assert_each(seeds, [int(seed) for seed in {cell.seed for cell, _ in asked}])
    if attacked:
        assert_each(ratios, [float(r) for r in {cell.ratio for cell, _ in asked if cell.attack != "none"}])
    for (axis, kind), dataset in itertools.product(AXES.items(), datasets):
        spelled = {getattr(a.name, axis): getattr(a.cell, axis) for a in asked if a.cell.dataset == dataset}
        made = [(catalog.method_name(s), catalog.resolve(kind, s, read.settings_of(dataset))) for s in spelled.values()]
        assert len(made) == len(entries[axis])
        for name, fields in entries[axis]:
            assert any(name == other and all(is_same(fields[key], own[key]) for key in fields) for other, own in made)


def assert_each(given: list[Any], found: list[Any]) -> None:
    assert len(given) == len(found) and all(any(is_same(value, other) for other in found) for value in given)


def check_study(raw: dict[str, Any], found: Study, read: Config) -> None:
    """The study has every cell, table, figure and analysis that was written, and no other."""
    assert is_same(raw.get("title", "one"), found.title)
    together: set[Asked] = set()
    for grid in one_or_more(raw["grid"]):
        asked = set(expand_grid(grid, read))
        check_grid(grid, asked, read)
        together |= asked
    assert set(found.asked) == together and len(found.asked) == len(together)
    tables = one_or_more(raw.get("table", []))
    assert len(tables) == len(found.tables)
    for given, table in zip(tables, found.tables, strict=True):
        assert all(
            list(getattr(table, key)) == one_or_more(value)
            for key, value in given.items()
            if key in ("rows", "columns", "values")
        )
        assert len(table.against) == len(one_or_more(given.get("against", []))) and table.kind == given.get(
            "kind", "cells"
        )
    shown = raw.get("figure", ["heatmap", "tradeoff", "triggers"] if tables else [])
    check_spellings("figures", "kind", shown, found.figures)
    check_spellings("analyses", "name", raw.get("analysis", []), found.analyses)


def check_spellings(kind: str, key: str, raw: Any, found: tuple[str, ...]) -> None:
    assert len(set(found)) == len(one_or_more(raw))
    for entry, spelling in zip(one_or_more(raw), found, strict=True):
        fields = {key: entry} if isinstance(entry, str) else entry
        assert fields[key] == catalog.method_name(spelling)
        check_fields({k: v for k, v in fields.items() if k != key}, catalog.resolve(kind, spelling))


READ = config.read(CONFIG)


@inputs(300)
@given(changed(STUDY))
def test_a_study(folder: Path, raw: Any) -> None:
    (folder / "one.yaml").write_text(yaml.safe_dump(raw))
    found = ask(lambda: studies.read(READ).studies["one"], "one.yaml")
    event("refused" if found is REFUSED else "read")
    if found is not REFUSED:
        check_study(raw, found, READ)
