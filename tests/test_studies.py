"""Configuration and study files into cells: one spelling for a cell, and one clear line for what is wrong."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.settings_rule import CANDIDATES, FINE_TUNED
from workflow_scripts.common import catalog, config, spellings, studies
from workflow_scripts.common.cells import Cell, Study
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Field

SETTINGS = {
    "replace_models": {"preact_resnet18": "preact_small"},
    "largest_ratios": {"sig": 0.08},
    "defenses": {"ft": {"epochs": 20}},
}
CONFIG = {"studies": ["one"], "datasets": {"digits": {"loader": "digits"}}, "settings": {"digits": SETTINGS}}
GRID = {
    "dataset": "digits",
    "model": "preact_small",
    "attack": "badnets",
    "ratio": 0.1,
    "seed": 0,
    "defense": "none",
}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(studies, "FOLDER", tmp_path)
    return tmp_path


def read(folder: Path, grid: Any = None, changed: dict[str, Any] | None = None, **more: Any) -> Study:
    """The study of one file, whose grid and configuration differ from the plain ones as given."""
    study = {"grid": {**GRID, **(grid or {})}, "table": {"rows": "attack", "columns": "defense"}, **more}
    (folder / "one.yaml").write_text(yaml.safe_dump({k: v for k, v in study.items() if v is not None}))
    (found,) = studies.read(config.read({**CONFIG, **(changed or {})})).studies.values()
    return found


def test_what_a_study_says_of_an_analysis_holds_whatever_the_dataset_says(folder: Path) -> None:
    assert read(folder, analysis={"name": "sweep", "holdout_size": 0.05}).analyses == ("sweep+holdout_size~0.05",)


def test_a_commit_that_is_read_as_a_number_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="commit is read as 9843193, no text; write ~0 behind it"):
        read(folder, changed={"commit": 9843193})


def test_a_grid_is_the_product_of_its_axes(folder: Path) -> None:
    grid = {"attack": ["none", "badnets"], "seed": [0, 1], "defense": ["none", {"clp": {"u": [2, 4]}}]}
    cells = read(folder, grid).cells
    assert len(cells) == 12
    assert Cell("digits", "preact_small", "none", "0", "1", "clp+u~2.0") in cells
    assert Cell("digits", "preact_small", "badnets", "0.1", "0", "clp+u~4.0") in cells


@pytest.mark.parametrize(
    ("entry", "spelling"),
    [
        ("ft", "ft"),
        ({"ft": {"epochs": 20}}, "ft"),  # the dataset's own setting
        ({"ft": {"epochs": 100}}, "ft+epochs~100"),  # the method's default, which is not the dataset's
        ({"ft": {"lr": "1e-3"}}, "ft+lr~0.001"),  # YAML reads 1e-3 as a string
        ({"ft": {"lr": 1, "epochs": "5"}}, "ft+epochs~5+lr~1.0"),  # in the order of the fields
        ("ft+lr~0.50", "ft+lr~0.5"),
        ({"ft": {"lr": 1e-05}}, "ft+lr~1e-05"),
    ],
)
def test_a_cell_has_one_spelling(folder: Path, entry: Any, spelling: str) -> None:
    assert [cell.defense for cell in read(folder, {"defense": entry}).cells] == [spelling]


def test_a_study_keeps_what_it_asked(folder: Path) -> None:
    """A column is one method on every dataset, and a field that is swept around the dataset's setting stays spelled."""
    datasets = {"digits": {"loader": "digits"}, "cifar10": {"loader": "cifar10", "folder": "data"}}
    grid = {"dataset": ["digits", "cifar10"], "defense": ["ft", {"ft": {"epochs": [20, 100]}}]}
    table = {"rows": ["dataset", "attack"], "columns": "defense"}
    study = read(folder, grid, {"datasets": datasets}, table=table)
    found = {(name.dataset, name.defense): cell.defense for cell, name in study.asked}
    assert found == {
        ("digits", "ft"): "ft",
        ("digits", "ft+epochs~20"): "ft",  # what the dataset's settings say, asked for twice, is made once
        ("digits", "ft+epochs~100"): "ft+epochs~100",
        ("cifar10", "ft"): "ft",
        ("cifar10", "ft+epochs~20"): "ft+epochs~20",
        ("cifar10", "ft+epochs~100"): "ft",
    }
    assert len(study.cells) == 4


def test_a_spelling_resolves_to_what_was_given() -> None:
    given = {"lr": 1e20, "epochs": 7, "batch_size": 32}
    spelling = spellings.canonical_spelling("defenses", "ft", given, None)
    assert "+" not in spelling.replace("+epochs", "").replace("+lr", "").replace("+batch_size", "")
    assert spellings.resolve("defenses", spelling) == spellings.resolve("defenses", "ft") | given
    wide = spellings.canonical_spelling("models", "preact_small", {"blocks": "1x2", "flip": False}, None)
    assert wide == "preact_small+flip~false+blocks~1x2"
    assert spellings.resolve("models", wide)["blocks"] == (1, 2)


def test_implied_cells(folder: Path) -> None:
    asked = read(folder, {"defense": ["abl"]}).cells
    found = {(cell.attack, cell.defense) for cell in studies.add_implied_cells(asked)}
    assert found == {("badnets", d) for d in ("abl", "none", "clean", "plain")} | {("none", "none")}


def test_any_study_runs_on_another_dataset(folder: Path) -> None:
    elsewhere = {"dataset": "cifar10", "model": "preact_resnet18", "attack": "sig", "ratio": [0.05, 0.1]}
    datasets = {"digits": {"loader": "digits"}, "cifar10": {"loader": "cifar10", "folder": "data"}}
    table = {"rows": ["attack", "ratio"], "columns": "defense"}
    study = read(folder, elsewhere, {"datasets": datasets, "dataset": "digits"}, table=table, title="Mine")
    assert (study.name, study.title) == ("digits/one", "Mine, run on digits"), (
        "it overwrites nothing of the study's own"
    )
    cells = study.cells
    assert [(c.dataset, c.model, c.ratio) for c in cells] == [
        ("digits", "preact_small", "0.05"),
        ("digits", "preact_small", "0.08"),  # no more than the class holds
    ]


def test_several_datasets_stay_several(folder: Path) -> None:
    """A study on three sets had one block on digits."""
    sets = {name: {"loader": "digits"} for name in ("digits", "small", "cifar10", "gtsrb")}
    standing = {"datasets": sets, "dataset": "digits", "settings": {"digits": {"replace_datasets": {"gtsrb": "small"}}}}
    table = {"rows": ["dataset", "attack"], "columns": "defense"}
    cells = read(folder, {"dataset": ["cifar10", "gtsrb", "digits"]}, standing, table=table).cells
    assert [cell.dataset for cell in cells] == ["digits", "small"]
    assert [cell.dataset for cell in read(folder, {"dataset": "gtsrb"}, standing).cells] == ["small"]


@pytest.mark.parametrize(
    ("file", "dataset", "epochs"), [("cifar10_jpeg", "cifar10_jpeg", 20), ("real_files", "mnist", 10)]
)
def test_a_benchmarks_configuration_is_one(file: str, dataset: str, epochs: int) -> None:
    """As `--configfile` beside `config.yaml` gives it."""
    here = Path(__file__).resolve().parents[1]
    given = [yaml.safe_load((here / name).read_text()) for name in ("config.yaml", f"benchmarks/{file}.yaml")]
    merged = {key: given[0].get(key, {}) | given[1].get(key, {}) for key in ("datasets", "settings")}
    read = config.read({**given[0], **given[1], **merged})
    assert read.settings_of(dataset)["defenses"]["ft"]["epochs"] == epochs
    assert all(read.loader(name) for name in given[1]["datasets"])


def test_the_settings_of_digits_are_those_that_the_rule_has_chosen() -> None:
    """benchmarks/digits_settings.md is what its command prints; config.yaml says the same."""
    here = Path(__file__).resolve().parents[1]
    settings = config.read(yaml.safe_load((here / "config.yaml").read_text())).settings_of("digits")
    table = (here / "benchmarks/digits_settings.md").read_text()
    chosen = re.findall(r"^\| (\w+) \| (\w+) \| ([\d.]+)[^|]*\|[^|]*\|[^|]*\| \*\*yes\*\* \|$", table, re.M)
    chosen += [("tsbd", "unlearn_lr", re.findall(r"^\| ([\d.]+) \| \d+ of \d+ \| \*\*yes", table, re.M)[0])]
    assert len(chosen) == len(CANDIDATES) + 1
    for defense, field, value in chosen:
        assert spellings.resolve("defenses", defense, settings)[field] == float(value), f"{defense} {field}"
    (lr,) = (value for defense, _, value in chosen if defense == "ft")
    shared = ("ft", *FINE_TUNED)
    assert {spellings.resolve("defenses", defense, settings)["lr"] for defense in shared} == {float(lr)}


def test_git_keeps_the_summaries_of_the_studies_that_dvc_runs() -> None:
    here = Path(__file__).resolve().parents[1]
    pipeline = yaml.safe_load((here / "dvc.yaml").read_text())
    stage, names = pipeline["stages"]["results"], yaml.safe_load((here / "pulled/studies.yaml").read_text())["studies"]
    kept = (here / ".gitignore").read_text().splitlines()
    outs, metrics = ({next(iter(entry)) for entry in stage[key]} for key in ("outs", "metrics"))
    assert names and metrics == {f"results/summary/{name}.rows" for name in names}
    for name in names:
        assert f"results/summary/{name}.json" in outs and f"!results/summary/{name}.*" in kept
        assert (here / f"results/summary/{name}.json").exists()
        figures = config.as_list(yaml.safe_load((here / f"studies/{name}.yaml").read_text())["figure"], "figure")
        assert {f"results/figures/{name}_{figure}.png" for figure in figures} <= set(pipeline["plots"])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"grid": {"dataset": "mnist"}}, r"no dataset 'mnist'.*there are: digits"),
    ({"grid": {"attack": "badnet"}}, r"no 'badnet' among the attacks; near it: badnets"),
    ({"grid": {"defense": "anpp"}}, r"no 'anpp' among the defenses; near it: anp"),
    ({"grid": {"model": "resnet"}}, r"no 'resnet' among the models"),
    ({"grid": {"defense": {"ft": {"rate": 1}}}}, r"ft has no 'rate'; it has: holdout_size, epochs, lr"),
    ({"grid": {"defense": {"ft": {"epochs": "many"}}}}, r"ft: epochs is 'many'; it must be a whole number"),
    ({"grid": {"defense": {"ft": {"epochs": 1.5}}}}, r"epochs is 1.5; it must be a whole number"),
    ({"grid": {"defense": {"ft": {"lr": -1}}}}, r"lr is -1; it must be a number above 0"),
    ({"grid": {"defense": {"ft": {"lr": True}}}}, r"lr is True; it must be a number"),
    ({"grid": {"defense": {"abl": {"loss": "hinge"}}}}, r"loss is 'hinge'; it must be one of flooding, lga"),
    ({"grid": {"defense": "ft+lr"}}, r"'ft\+lr' is no spelling of a method"),
    ({"grid": {"ratio": 0}}, r"ratio is 0 for badnets; it must be above 0 and at most 1"),
    ({"grid": {"ratio": 1.2}}, r"ratio is 1.2; it must be a number at least 0 and at most 1"),
    ({"grid": {"ratio": "half"}}, r"ratio is 'half'"),
    ({"grid": {"attack": "sig", "ratio": 0.1}}, r"clean-label.* 135 images of class 0, which has 133.*at most 0.0987"),
    (
        {"grid": {"attack": {"sig": {"mapping": "all_to_all"}}}},
        r"mapping is 'all_to_all'; it must be one of all_to_one",
    ),
    ({"grid": {"attack": {"badnets": {"target": 10}}}}, r"target is 10; digits has the classes 0 to 9"),
    ({"grid": {"attack": "wanet", "ratio": 0.5}}, r"wanet at .* 674 images and 1348 covers of the 1347.* most 0.3333"),
    (
        {"grid": {"defense": {"ft": {"holdout_size": 0.3}}}},
        r"ft's holdout_size 0.3 asks for 404 .* ask for 1 to 337",
    ),
    ({"grid": {"defense": {"ft": {"holdout_size": 0.0001}}}}, r"asks for 0 images of digits; it may ask for 1 to 337"),
    ({"grid": {"seed": None}}, r"grid: seed is empty; it must name something"),
    ({"grid": {"seed": -1}}, r"seed is -1; it must be a whole number"),
    ({"grid": {"seed": "a"}}, r"seed is 'a'"),
    ({"grid": {"batch": 3}}, r"grid: no key 'batch'; there are: dataset, model"),
    ({"table": None}, r"neither table, figure nor analysis"),
    ({"tabel": {}}, r"no key 'tabel'; there are: title, grid"),
    ({"table": {"rows": "colour"}}, r"no axis 'colour'; there are: dataset"),
    ({"table": {"kind": "pared"}}, r"table: no kind 'pared'; there are: cells, paired"),
    ({"table": {"kind": "paired"}}, r"one of kind paired, and no other, says `against`"),
    ({"table": {"kind": "reported", "rows": "attack"}}, r"rows of one of kind reported cannot be chosen"),
    ({"table": {"kind": "costs", "values": "acc"}}, r"values of one of kind costs cannot be chosen"),
    ({"table": {"against": "none"}}, r"one of kind paired, and no other, says `against`"),
    ({"table": {"kind": "paired", "against": "ft"}}, r"against 'ft', which is none of the columns; there are: none"),
    (
        {"table": [{"rows": "attack"}, {"rows": ["attack", "dataset"]}]},
        r"there are 2 of kind cells; a study has one of each at most",
    ),
    ({"table": {"rows": []}}, r"table: rows is empty"),
    ({"changed": {"datasets": {"digits": {"loader": "digits", "reference": 93}}}}, r"reference is 93; it must be"),
    ({"table": {"values": ["f1"]}}, r"no metric 'f1'; there are: acc, asr, ra, der"),
    ({"grid": {"ratio": [0.1, 0.2]}}, r"0.1 and 0.2 would share a place; add 'ratio' to rows or columns"),
    ({"figure": "pie"}, r"no 'pie' among the figures; there are: .*heatmap"),
    ({"figure": {"colour": "red"}}, r"figures: kind is missing or no name"),
    ({"analysis": "tsne"}, r"no 'tsne' among the analyses; there are: .*triggers"),
    ({"changed": {"studies": ["two"]}}, r"no study 'two' in .*there are: one"),
    ({"changed": {"studies": ["ones"]}}, r"no study 'ones' in .*near it: one"),
    (
        {"changed": {"studies": ["one.yaml"]}},
        r"no study 'one.yaml' in .*: one is called by its path",
    ),
    ({"changed": {"studies": []}}, r"config: studies is empty"),
    ({"changed": {"stduies": []}}, r"config: no key 'stduies'"),
    ({"changed": {"datasets": {"digits": {"loader": "mnist"}}}}, r"no 'mnist' among the datasets"),
    (
        {"changed": {"datasets": {"digits": {}}}},
        r"loader is missing or no name; there are: cifar10, cifar100, digits, gtsrb",
    ),
    ({"changed": {"datasets": {"digits": {"loader": "cifar10"}}}}, r"the loader cifar10 needs 'folder'"),
    ({"changed": {"datasets": {"digits": {"loader": "digits", "reserve": 2}}}}, r"reserve is 2; it must be a number"),
    ({"changed": {"settings": {"mnist": {}}}}, r"no dataset 'mnist'"),
    ({"changed": {"settings": {"digits": {"defenses": {"tsbdd": {}}}}}}, r"no 'tsbdd' among the defenses"),
    ({"changed": {"settings": {"digits": {"simclr": {}}}}}, r"no key 'simclr'; .*simclr belongs below auxiliaries"),
    (
        {"changed": {"settings": {"digits": {"defenses": {"ft": {"epoch": 3}}}}}},
        r"settings of digits: ft has no 'epoch'",
    ),
    (
        {"changed": {"settings": {"digits": {"largest_ratios": {"sig": 2}}}}},
        r"the ratio of sig is 2; it must be a number above 0",
    ),
    ({"changed": {"settings": {"digits": {"replace_models": {"preact_small": "big"}}}}}, r"no 'big' among the models"),
    ({"changed": {"settings": {"digits": {"replace_datasets": {"digits": "mnist"}}}}}, r"no dataset 'mnist'"),
    ({"changed": {"dataset": "mnist"}}, r"no dataset 'mnist'"),
    ({"changed": {"dataset": ["digits"]}}, r"no dataset \['digits'\]"),
    ({"changed": {"datasets": {"digits": {"loader": 3}}}}, r"loader is missing or no name"),
    ({"grid": {"dataset": {"digits": 1}}}, r"no dataset {'digits': 1}"),
    ({"grid": {"attack": [["badnets"]]}}, r"expected `key: value` pairs, got \['badnets'\]"),
    ({"grid": {"defense": {"ft": ["lr"]}}}, r"grid, ft: expected `key: value` pairs"),
    ({"figure": {"kind": ["heatmap"]}}, r"figures: kind is missing or no name"),
    ({"changed": {"keep_models": "no"}}, r"keep_models is 'no'; it must be true or false"),
    # nothing is rounded, clipped, dropped or overridden
    (
        {"changed": {"settings": {"digits": {"models": {"preact_small": {"blocks": [1.5, 1, 1]}}}}}},
        r"blocks is \[1.5, 1",
    ),
    (
        {"grid": {"model": {"preact_small": {"blocks": "1x1.5"}}}},
        r"blocks is '1x1.5'; it must be a list of whole numbers",
    ),
    ({"grid": {"model": {"preact_small": {"blocks": "1x0"}}}}, r"blocks is '1x0'; .*each at least 1"),
    ({"grid": {"model": {"preact_small": {"blocks": [[]]}}}}, r"blocks is \[\]; it must be"),
    ({"grid": {"defense": {"ft": {"holdout_size": 1.5}}}}, r"holdout_size is 1.5; .*above 1 a whole one"),
    ({"grid": {"defense": {"ft": {"epochs": 10**9}}}}, r"epochs is 1000000000; .*at most 1000000"),
    ({"grid": {"defense": {"ft": {"epochs": 10**400}}}}, r"epochs is 10000"),
    ({"grid": {"seed": 2**31}}, r"seed is 2147483648; it must be a whole number at least 0 and at most 2147483647"),
    ({"grid": {"ratio": 1e-5}}, r"ratio 1e-05 asks for none of the 1347 images of digits"),
    ({"grid": {"seed": [0, 0]}}, r"grid: seed: 0 stands there twice"),
    ({"grid": {"ratio": [0.1, "1e-1"]}}, r"grid: ratio: 0.1 stands there twice"),
    ({"grid": {"defense": [{"ft": {"lr": [1, 1.0]}}]}}, r"grid: defense: 'ft\+lr~1.0' stands there twice"),
    ({"grid": {"defense": {"ft": {"lr": []}}}}, r"grid, ft, lr is empty"),
    ({"grid": {"defense": {"ft": None}}}, r"grid, ft: expected `key: value` pairs, got None"),
    ({"grid": {"defense": "ft+lr~1+lr~2"}}, r"says a key twice"),
    (
        {"grid": {"defense": {"ft": {"lr": [*range(1, 1000)], "epochs": [*range(1, 1000)]}}}},
        r"more than 100000 combinations",
    ),
    ({"grid": {"seed": [*range(300)], "defense": {"ft": {"epochs": [*range(400)]}}}}, r"more than 100000 cells"),
    ({"table": {"rows": "attack", "columns": "attack"}}, r"rows and columns: 'attack' stands there twice"),
    ({"table": []}, r"table is empty"),
    ({"analysis": []}, r"analyses is empty"),
    ({"title": ""}, r"title is ''; it must be a line of text"),
    ({"title": "a\nb"}, r"it must be a line of text"),
    ({"changed": {"dataset": ""}}, r"no dataset ''"),
    ({"changed": {"datasets": {"größe": {"loader": "digits"}}}}, r"must be named in lower-case letters"),
    ({"changed": {"settings": {"digits": {"defenses": {"ft+lr~1": {}}}}}}, r"no 'ft\+lr~1' among the defenses"),
    (
        {"changed": {"settings": {"digits": {"replace_models": {"preact_small": ["a"]}}}}},
        r"no \['a'\] among the models",
    ),
    ({"changed": {"settings": None}}, r"settings: expected `key: value` pairs"),
    ({"changed": {"studies": ["../one"]}}, r"no study '../one' in"),
    ({"changed": {"studies": ["/etc/one"]}}, r"no study '/etc/one' in"),
    ({"changed": {"studies": ["[one"]}}, r"no study '\[one' in"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_what_is_wrong_is_said_in_a_line_before_anything_runs(folder: Path, given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read(folder, **given)
    assert len(str(error.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("extra", "message"),
    [("digits", "would say which images are poisoned"), ("mnist", "no dataset of the configuration")],
)
def test_a_defense_may_have_other_images_but_not_these(
    folder: Path, monkeypatch: pytest.MonkeyPatch, extra: str, message: str
) -> None:
    told = catalog.describe("defenses", "ft")
    field = Field("extra", extra, str, names="datasets")
    asks = replace(told, fields={**told.fields, "extra": field}, asks=(*told.asks, "extra"))
    known = catalog.describe
    monkeypatch.setattr(catalog, "describe", lambda kind, name: asks if name == "ft" else known(kind, name))
    with pytest.raises(UserError, match=message):
        read(folder, {"defense": "ft"})


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in itertools.pairwise("abcdefghijklmno"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"grid: [", "line 1, column 8: expected"),
        ("title: größer".encode("latin-1"), "at byte 9: .*save it as UTF-8"),
        (b"title: a\ntitle: b", "line 2: the key title stands there a second time"),
        (b"grid: &g [*g]", "more than 50 within each other"),
        (BOMB.encode(), "more than 100000 values"),
        (b"[" * 5000, "RecursionError|while parsing"),
        (b"grid: " + b"9" * 5000, "line 1: a number of more than 1000 digits"),
        (b"grid: 2020-13-45", "month must be"),
        (b"grid: !!python/object:os.system {}", "could not determine a constructor"),
        (b"x" * 300_000, "300000 bytes; it may have"),
        (b"", "the file is empty; a study has a grid"),
    ],
)
def test_a_file_that_is_no_study(folder: Path, content: bytes, message: str) -> None:
    read(folder)
    (folder / "one.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        studies.read(config.read(CONFIG))
    assert "one.yaml" in str(error.value) and "remove it" not in str(error.value)


def test_a_list_is_one_value_of_a_field_that_is_a_list(folder: Path) -> None:
    asked = read(folder, {"model": {"preact_small": {"blocks": [1, 2]}}}).cells
    assert [cell.model for cell in asked] == ["preact_small+blocks~1x2"]
    table = {"rows": ["model"], "columns": "defense"}
    swept = read(folder, {"model": {"preact_small": {"blocks": [[1, 2], "2x2"]}}}, table=table).cells
    assert [cell.model for cell in swept] == ["preact_small+blocks~1x2", "preact_small+blocks~2x2"]


def test_a_broken_study_stops_no_other_that_a_pattern_matched(folder: Path) -> None:
    read(folder)
    (folder / "two.yaml").write_text("grid: [")
    (folder / "my study.yaml").write_text((folder / "one.yaml").read_text())
    found = studies.read(config.read({**CONFIG, "studies": ["*"]}))
    assert set(found.studies) == {"one"} and not found.by_name
    assert sorted(found.left_out) == [str(folder / "my study.yaml"), str(folder / "two.yaml")]
    assert "rename the file" in found.left_out[str(folder / "my study.yaml")]
    assert studies.read(config.read({**CONFIG, "studies": ["one", "t*"]})).by_name == {"one"}
    with pytest.raises(UserError, match="two.yaml"):
        studies.read(config.read({**CONFIG, "studies": ["*", "two"]}))
    with pytest.raises(UserError, match="two.yaml"):
        studies.read(config.read({**CONFIG, "studies": ["t*"]}))


def test_a_study_survives_the_way_to_its_script(folder: Path) -> None:
    table = [{"rows": "attack"}, {"kind": "paired", "against": {"ft": {"epochs": 20}}}, {"kind": "reported"}]
    figure = ["heatmap", {"kind": "triggers", "examples": 2}]
    given: dict[str, Any] = {"title": "A title", "table": table, "figure": figure}
    study = read(folder, {"defense": ["none", {"ft": {"epochs": [20, 100]}}]}, **given)
    assert Study.from_json(json.loads(json.dumps(study.as_json()))) == study
    assert study.figures == ("heatmap", "triggers+examples~2") and study.tables[1].against == ("ft+epochs~20",)


def test_results_of_two_studies_are_two_files(folder: Path) -> None:
    table = [{"rows": "attack"}, {"kind": "paired", "against": "none"}]
    for name in ("one", "one_paired"):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"grid": GRID, "table": table}))
    with pytest.raises(UserError, match="tables of one and one_paired would be one file"):
        studies.read(config.read({**CONFIG, "studies": ["one*"]}))
    (folder / "digits").mkdir()
    (folder / "one.yaml").rename(folder / "digits/one.yaml")
    with pytest.raises(UserError, match="digits is a dataset.*rename the folder"):
        studies.read(config.read({**CONFIG, "studies": ["digits/*"]}))
