"""Whatever a user writes: it is used as it is written, or refused in a line that says where.

`WRONG_INPUTS=2000 pytest tests/test_wrong_*.py` draws so many inputs of each generator, others each time. Left out:
numbers below 5e-324, which YAML itself makes 0; what a merge key, the settings of a dataset or `--config dataset=…` put
in another's place, which is what they are for; what Snakemake refuses first.
"""

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from snakemake.cli import parse_config, update_config
from wrong import REFUSED, TEXTS, VALUES, ask, changed, damaged, find, find_near, inputs, is_read, is_same, places, put

from workflow_scripts.common import catalog, config, documents, spellings, studies
from workflow_scripts.common.cells import Asked, Study
from workflow_scripts.common.config import Config
from workflow_scripts.common.grid import expand_grid

HERE = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((HERE / "config.yaml").read_text()) | {"studies": ["one"]}
READ = config.read(CONFIG)
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
SMALL = yaml.safe_dump({"grid": STUDY["grid"][1], "table": {}})
TEXT = yaml.safe_dump(STUDY, sort_keys=False).encode()
AXES = {"model": "models", "attack": "attacks", "defense": "defenses"}
METHODS = [(kind, method) for kind in catalog.BASES for method in catalog.list_methods(kind)]
FIELDS = [(kind, method, key) for kind, method in METHODS for key in catalog.describe(kind, method).fields]


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
        check_fields(entry, {**fields, "loader": loader, "reference": found.reference(name)})
    for name, settings in raw.get("settings", {}).items():
        read = found.settings_of(name)
        assert set(read) == set(settings)
        for kind, methods in settings.items():
            for method, fields in {} if kind in config.REPLACED else methods.items():
                check_fields(fields, spellings.resolve(kind, method, read))
        for kind in set(config.REPLACED) & set(settings):
            check_fields(settings[kind], read[kind])


def check_fields(given: dict[str, Any], found: dict[str, Any]) -> None:
    """What was given to a method stands in its fields."""
    for key, value in given.items():
        assert is_same(value, found[key]), (key, value, found[key])


@inputs(250)
@given(changed(CONFIG))
@example(put(CONFIG, ("datasets", "a\nb\nc"), 5))
@example(put(CONFIG, ("datasets", "digits", "loader"), "digits+reserve~0.2"))
@example(put(CONFIG, ("studies",), ["a**"]))
@example(put(CONFIG, ("studies",), "x" * 300))
@example(put(CONFIG, ("settings", "digits", "defenses", "ft", "lr"), b"1"))
@example(put(CONFIG, ("settings", "digits", "defenses", "ft", "lr"), 2**53 + 1))
@example(put(CONFIG, ("settings", "digits", "defenses", "ft", "lr"), "9007199254740993"))
def test_a_configuration(folder: Path, raw: Any) -> None:
    (folder / "one.yaml").write_text(SMALL)
    found = ask(lambda: config.read(raw), "config")
    if is_read(found):
        check_config(raw, found)
        ask(lambda: studies.read(found), str(folder))


def write_flow(value: Any) -> str:
    """YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf)


@pytest.mark.parametrize("place", [("studies",), ("dataset",), ("datasets", "digits", "reference"), ("keep_models",)])
def test_a_number_that_python_does_not_write(place: tuple[str, ...]) -> None:
    for value in (16**5000, [16**5000, 1]):
        assert ask(lambda value=value: config.read(put(CONFIG, place, value)), "config") is REFUSED  # type: ignore[misc]


LINES = st.one_of(
    VALUES.map(str),
    st.sampled_from(TEXTS),
    VALUES.map(write_flow),
    changed(CONFIG["datasets"]).map(write_flow),
    changed(CONFIG["settings"]).map(write_flow),
    st.sampled_from(["digits", "[one, o*]", "true", "{}", "[]", ""]),
)


@inputs(120)
@given(st.lists(st.tuples(st.sampled_from(config.KEYS), LINES), min_size=1, max_size=2))
def test_what_the_command_line_sets(folder: Path, pairs: list[tuple[str, str]]) -> None:
    """As Snakemake hands it on, above what the file says."""
    (folder / "one.yaml").write_text(SMALL)
    raw: dict[str, Any] = {}
    update_config(raw, CONFIG)
    try:
        update_config(raw, parse_config([f"{key}={text}" for key, text in pairs]))
    except Exception:  # Snakemake's own refusal
        return
    found = ask(lambda: config.read(raw), "config")
    if is_read(found):
        check_config(raw, found)
        ask(lambda: studies.read(found), str(folder))


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
    several = isinstance(value, list) and any(isinstance(part, list | str) for part in value)
    is_list = catalog.describe(kind, name).fields[key].type is tuple
    return [value] if is_list and not several else one_or_more(value)


def check_grid(grid: dict[str, Any], asked: set[Asked]) -> None:
    """Each combination of what the axes list is a cell, of just those values, and there is no other."""
    datasets, ratios, seeds = (one_or_more(grid[axis]) for axis in ("dataset", "ratio", "seed"))
    entries = {a: [e for entry in one_or_more(grid[a]) for e in list_entries(k, entry)] for a, k in AXES.items()}
    attacked = [entry for entry in entries["attack"] if entry[0] != "none"]
    count = len(datasets) * len(seeds) * len(entries["model"]) * len(entries["defense"])
    assert len(asked) == count * (len(attacked) * len(ratios) + len(entries["attack"]) - len(attacked))
    assert {cell.dataset for cell, _ in asked} == set(datasets)
    check_each(seeds, {int(cell.seed) for cell, _ in asked})
    check_each(ratios if attacked else [], {float(cell.ratio) for cell, _ in asked if cell.attack != "none"})
    for (axis, kind), dataset in itertools.product(AXES.items(), datasets):
        spelled = {getattr(a.name, axis): getattr(a.cell, axis) for a in asked if a.cell.dataset == dataset}
        made = [
            (spellings.method_name(s), spellings.resolve(kind, s, READ.settings_of(dataset))) for s in spelled.values()
        ]
        assert len(made) == len(entries[axis])
        for name, fields in entries[axis]:
            assert any(name == other and all(is_same(fields[key], own[key]) for key in fields) for other, own in made)


def check_each(given: list[Any], found: set[Any]) -> None:
    assert len(given) == len(found) and all(any(is_same(value, other) for other in found) for value in given)


def check_study(raw: dict[str, Any], found: Study) -> None:
    """The study has every cell, table, figure and analysis that was written, and no other."""
    assert raw.get("title", "one") == found.title
    asked = [set(expand_grid(grid, READ)) for grid in one_or_more(raw["grid"])]
    for grid, cells in zip(one_or_more(raw["grid"]), asked, strict=True):
        check_grid(grid, cells)
    assert set(found.asked) == set().union(*asked) and len(found.asked) == len(set(found.asked))
    tables = one_or_more(raw.get("table", []))
    for told, table in zip(tables, found.tables, strict=True):
        assert table.kind == told.get("kind", "cells")
        assert len(table.against) == len(one_or_more(told.get("against", [])))
        for key in told.keys() & {"rows", "columns", "values"}:
            assert list(getattr(table, key)) == one_or_more(told[key])
    shown = raw.get("figure", ["heatmap", "tradeoff", "triggers"] if tables else [])
    check_spellings("figures", "kind", one_or_more(shown), found.figures)
    check_spellings("analyses", "name", one_or_more(raw.get("analysis", [])), found.analyses)


def check_spellings(kind: str, key: str, raw: list[Any], found: tuple[str, ...]) -> None:
    assert len(set(found)) == len(raw)
    for entry, spelling in zip(raw, found, strict=True):
        given = {key: entry} if isinstance(entry, str) else entry
        check_fields(given, spellings.resolve(kind, spelling) | {key: spellings.method_name(spelling)})


@inputs(200)
@given(changed(STUDY))
@example(put(STUDY, ("grid", 0, "defense", 0), {}))
@example(put(STUDY, ("grid", 0, "attack"), ["badnets", {"badnets": {}}]))
@example(put(STUDY, ("grid", 0, "model"), ["preact_small", {"preact_small": {}}]))
@example(put(STUDY, ("table", 1, "against"), {}))
@example(put(STUDY, ("figure",), ["heatmap", {"kind": "heatmap"}]))
@example(put(STUDY, ("title",), "\x1b[31m"))
def test_a_study(folder: Path, raw: Any) -> None:
    (folder / "one.yaml").write_text(yaml.safe_dump(raw))
    found = ask(lambda: studies.read(READ).studies["one"], "one.yaml")
    if is_read(found):
        check_study(raw, found)
        elsewhere = ask(lambda: studies.read(replace(READ, dataset="digits")).studies["digits/one"], "one.yaml")
        for axis in ("attack", "seed", "defense") if elsewhere is not REFUSED else ():
            assert {getattr(a.name, axis) for a in found.asked} == {getattr(a.name, axis) for a in elsewhere.asked}


SNIPPETS = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\t", b"\r", b"\x85", b"\xe2\x80\xa8", b"\x1b[2J", b"  ", b"\n- ", b"\n"),
    *(
        b": ",
        b"{",
        b"]",
        b"&a ",
        b"*a",
        b"&a [*a]",
        b"\n<<: *a\n",
        b"\n<<: {seed: 3}\n",
        b"? [a]\n: b\n",
        b"? ",
        b"---\n",
    ),
    *(b"...\n", b"%YAML 9.9\n---\n", b"!!binary YQ==", b"!!set {a, b}", b"!!pairs [a: 1, a: 2]", b"!!omap [a: 1]"),
    *(b"!!timestamp x", b"!!int x", b"!!float {=: 1}", b"!!null 5", b"!!bool 5", b"!!str [a]", b"!x ", b"=", b"0o17"),
    *(b"!!python/object/apply:os.system [exit]", b"!!python/name:os.system", b"2020-01-01", b"2020-13-01", b"1:30:30"),
    *(b"0x" + b"f" * 5000, b"9" * 5000, b"1e999", b".nan", b".inf", b"~", b"[" * 60, b"[" * 3000, b"- " * 3000),
    *(b"{a: " * 200, b"'", b'"', b"|", b">9", b"# ", b"\\", b'"\\ud800"', b'"\\x00"'),
)


def read_config(path: Path) -> Config:
    return config.read(config.check_mapping(documents.read_yaml(path), f"{path}"))


@inputs(120)
@given(st.sampled_from([TEXT, (HERE / "config.yaml").read_bytes()]).flatmap(lambda text: damaged(text, SNIPPETS)))
@example(b"grid: 0x" + b"f" * 5000)
@example(b"title: !!int 0b" + b"1" * 50_000)
def test_bytes_of_yaml(folder: Path, content: bytes) -> None:
    path = folder / "one.yaml"
    path.write_bytes(content)
    found = ask(lambda: documents.read_yaml(path), "one.yaml")
    if is_read(found) and b"*" not in content:
        assert repr(found) == repr(yaml.safe_load(content))
    ask(lambda: studies.read(READ), "one.yaml")
    ask(lambda: read_config(path), "one.yaml", "config")


ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "utf-7", "cp037")


@pytest.mark.parametrize("title", ["größe", "a"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings_of_yaml(folder: Path, encoding: str, newline: str, title: str) -> None:
    text = yaml.safe_dump(STUDY | {"title": title}, allow_unicode=True)
    (folder / "one.yaml").write_bytes(text.replace("\n", newline).encode(encoding))
    found = ask(lambda: studies.read(READ).studies["one"], "one.yaml")
    if found is not REFUSED:
        check_study({**STUDY, "title": title}, found)


WAYS = {
    "lists": "[{}]",
    "mappings": "{{k: [{}]}}",
    "merged": "{{<<: [{}]}}",
    "pairs": "!!pairs [k: [{}]]",
    "ordered": "!!omap [k: [{}]]",
    "set": "!!set {{? [{}] }}",
}
"""How YAML can hold several times what stands behind an anchor."""


@inputs(30)
@given(st.sampled_from(sorted(WAYS)), st.integers(1, 30), st.integers(1, 4), st.booleans())
@example("merged", 30, 2, True)
@example("pairs", 30, 2, True)
@example("ordered", 3, 1, False)
def test_aliases_that_expand(folder: Path, way: str, levels: int, times: int, ends: bool) -> None:
    first = "{x: 1}" if way == "merged" else "[x]"
    lines = [f"n0: &n0 {first if ends else WAYS[way].format('*n0')}"]
    lines += [f"n{i}: &n{i} " + WAYS[way].format(", ".join([f"*n{i - 1}"] * times)) for i in range(1, levels)]
    (folder / "one.yaml").write_text("\n".join(lines))
    found = ask(lambda: documents.read_yaml(folder / "one.yaml"), "one.yaml")
    ask(lambda: studies.read(READ), "one.yaml")
    assert not is_read(found) or times**levels < 10 * documents.MOST


def test_a_study_that_never_ends(folder: Path) -> None:
    (folder / "one.yaml").unlink(missing_ok=True)
    os.mkfifo(folder / "one.yaml")
    assert ask(lambda: studies.read(READ), "one.yaml is a pipe or a device") is REFUSED
    (folder / "one.yaml").unlink()


QUOTES = ("{}", '"{}"', "'{}'", "!!str {}", "? {}")
MAPPINGS = [
    (place, key) for place in places(STUDY) if isinstance(find(STUDY, place), dict) for key in find(STUDY, place)
]


@inputs(40)
@given(st.sampled_from(MAPPINGS), st.sampled_from(QUOTES), st.sampled_from(["1", "a", "[x]", "{}", "null"]))
def test_a_key_that_stands_there_twice(folder: Path, where: tuple[Any, str], quotes: str, value: str) -> None:
    """In another spelling, with another value, anywhere."""

    def write(part: Any, place: tuple[Any, ...]) -> str:
        if isinstance(part, list):
            return "[" + ", ".join(write(one, (*place, i)) for i, one in enumerate(part)) + "]"
        if not isinstance(part, dict):
            return repr(part) if isinstance(part, str) else str(part).lower()
        pairs = [f"{key}: {write(one, (*place, key))}" for key, one in part.items()]
        return "{" + ", ".join(pairs + [f"{quotes.format(where[1])}: {value}"] * (place == where[0])) + "}"

    (folder / "one.yaml").write_text(write(STUDY, ()))
    assert ask(lambda: studies.read(READ), "one.yaml: not a readable YAML file (line 1: the key") is REFUSED


@inputs(400)
@given(st.sampled_from(FIELDS), st.data())
def test_a_field_of_any_method(place: tuple[str, str, str], data: st.DataObject) -> None:
    kind, method, key = place
    field = catalog.describe(kind, method).fields[key]
    near = st.sampled_from([*field.choices, *find_near(field.default)])
    value = data.draw(near if data.draw(st.booleans()) else VALUES)
    own, full = spellings.canonical_spelling, spellings.full_spelling
    for spelling in (
        ask(lambda: own(kind, method, {key: value}, None), key),
        ask(lambda: full(kind, method, {key: value}), key),
    ):
        assert not is_read(spelling) or is_same(value, spellings.resolve(kind, spelling)[key])
    found = ask(lambda: spellings.resolve(kind, method, {kind: {method: {key: value}}}), key)
    assert found is REFUSED or is_same(value, found[key])


@st.composite
def near_spellings(draw: st.DrawFn) -> tuple[str, str]:
    """A kind, and a spelling of one of its methods, or of nearly one."""
    kind, method = draw(st.sampled_from(METHODS))
    known = catalog.describe(kind, method).fields
    pairs = []
    for key in draw(st.lists(st.sampled_from(sorted(known) or ["none"]), max_size=3)):
        near = st.sampled_from([known[key].default if key in known else 0, 0.25, 3, "1x2", "true"]).map(str)
        pairs.append(f"{key}~{draw(near | st.text(max_size=6))}")
    spelling = "+".join([method, *pairs])
    if draw(st.booleans()):
        spelling = draw(damaged(spelling.encode(), (b"+", b"~", b"++", b"+a~", b"/", b"\0"))).decode(errors="replace")
    return kind, spelling


@inputs(300)
@given(near_spellings())
def test_a_spelling(pair: tuple[str, str]) -> None:
    kind, spelling = pair
    found = ask(lambda: spellings.resolve(kind, spelling), repr(spelling.partition("+")[0])[1:-1])
    if is_read(found):
        method, *pairs = spelling.split("+")
        given = dict(pair.split("~", 1) for pair in pairs)
        assert len(given) == len(pairs)
        check_fields({key: f.default for key, f in catalog.describe(kind, method).fields.items()} | given, found)
        again = ask(lambda: spellings.canonical_spelling(kind, method, given, None), *given)
        assert again is REFUSED or spellings.resolve(kind, again) == found
