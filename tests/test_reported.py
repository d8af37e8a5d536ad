"""Published numbers beside ours: which is taken, what is said of it, and that nothing else gets in."""

import csv
import re
import types
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made_up import CONFIG, made_up_study, write_metrics

from workflow_scripts.common import config
from workflow_scripts.common.cells import Cell, Study, Table
from workflow_scripts.common.plan import Planner
from workflow_scripts.common.source import ROOT
from workflow_scripts.common.spellings import SPELLING
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.reporting import reported
from workflow_scripts.reporting.comparison import compare
from workflow_scripts.reporting.published import SOURCES, Published, find_nearest, read_published

FILE = ROOT / "reporting" / "reported.csv"
TABLE = Table(("dataset", "model", "attack", "ratio"), ("defense",), ("acc", "asr", "ra"), "reported")
BASE = Published(SOURCES[0], "T", "p", "cifar10", "preact_resnet18", 0.1, "badnets", "ft", 0.9, 0.5, None, None, "")
ROW: Row = {
    "dataset": "cifar10", "model": "preact_resnet18", "attack": "badnets", "ratio": 0.1, "seed": 0, "defense": "ft",
    "protocol": "default", "control": False, "checks": [], "acc": 0.8, "asr": 0.1, "ra": None, "der": None,
}  # fmt: skip


def written(study: Study, folder: Path, metrics: str, published: Path = FILE) -> dict[Any, Any]:
    """The Markdown of the table, and its rows by attack, defense and metric."""
    output = types.SimpleNamespace(**{form: str(folder / f"one.{form}") for form in ("parquet", "csv", "md", "tex")})
    otherwise = Planner(config.read(CONFIG)).set_otherwise(study)
    reported.write(study, metrics, str(published), otherwise, output)
    lines = pq.read_table(output.parquet).to_pylist()
    found = {(line["attack"], line["defense"], line["metric"]): line for line in lines}
    return {"md": Path(output.md).read_text(), "tex": Path(output.tex).read_text()} | found


def test_every_published_number_has_a_known_source_and_place() -> None:
    cells = read_published(str(FILE))
    assert len(cells) > 3000 and {cell.source for cell in cells} == set(SOURCES)
    assert all(cell.table and cell.place and cell.ratio in (0.1, 0.05, 0.01) for cell in cells)
    assert all(re.fullmatch(SPELLING, name) for cell in cells for name in (cell.attack, cell.defense))
    numbers = [value for cell in cells for value in (cell.acc, cell.asr, cell.ra, cell.der) if value is not None]
    assert all(0 <= value <= 1 for value in numbers)
    keys = [(*cell.victim, cell.defense) for cell in cells]
    assert len(set(keys)) == len(keys), "a source says a cell once"
    unavailable = {"tsbd", "eigenguard", "holder", "fmp"}
    assert not unavailable & {cell.defense for cell in cells}


def test_a_remembered_number_never_enters(tmp_path: Path) -> None:
    with FILE.open(encoding="utf-8") as file:
        line = next(csv.DictReader(file))
    for source in ("remembered", "TSBD (NeurIPS 2024)", ""):
        with (tmp_path / "odd.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, line)
            writer.writeheader()
            writer.writerow(line | {"source": source})
        with pytest.raises(ValueError, match="no publication is known as"):
            read_published(str(tmp_path / "odd.csv"))


@pytest.mark.parametrize(
    ("ours", "near", "far"),
    [
        ({"dataset": "gtsrb"}, {"dataset": "gtsrb", "model": "vgg19_bn"}, {}),  # the dataset before the model,
        ({"model": "vgg19_bn"}, {"model": "vgg19_bn", "ratio": 0.01}, {}),  # the model before the ratio
        ({"ratio": 0.08}, {"ratio": 0.1}, {"ratio": 0.05}),
        ({"ratio": 0.01}, {"ratio": 0.01, "source": SOURCES[2]}, {"ratio": 0.05}),  # the ratio before the source
        ({}, {}, {"source": SOURCES[2]}),
        ({"dataset": "digits", "model": "preact_small"}, {}, {"dataset": "cifar100"}),
        ({"model": "preact_small"}, {}, {"model": "vit_b_16"}),
        ({"model": "preact_resnet18+precision~fp32"}, {}, {"model": "vgg19_bn"}),
        ({"defense": "ft+lr~0.1"}, {"defense": "ft+lr~0.1", "source": SOURCES[2]}, {}),
        ({"defense": "ft+lr~0.2"}, {}, {"defense": "ft+lr~0.1"}),
        ({"attack": "badnets+mapping~all_to_all"}, {"attack": "badnets+mapping~all_to_all", "dataset": "gtsrb"}, {}),
    ],
)
def test_the_nearest_setting_is_taken(ours: dict[str, Any], near: dict[str, Any], far: dict[str, Any]) -> None:
    closer, farther = BASE._replace(**near), BASE._replace(**far)
    for order in ([closer, farther], [farther, closer]):
        assert find_nearest(order, ROW | ours) == closer


def test_what_is_published_of_a_variant_is_no_number_of_the_method() -> None:
    assert find_nearest([BASE._replace(defense="ft+lr~0.1"), BASE._replace(defense="fp")], ROW) is None


def test_theirs_is_held_against_the_undefended_model_of_its_own_source() -> None:
    other = BASE._replace(source=SOURCES[2], defense="clp")
    cells = [BASE, other, *(cell._replace(defense="none", asr=asr) for cell, asr in ((BASE, 0.9), (other, 0.7)))]
    cells.append(other._replace(defense="none", attack="sig"))
    rows = [ROW, ROW | {"defense": "clp"}, ROW | {"defense": "tsbd"}, ROW | {"defense": "clean", "control": True}]
    lines = compare(rows, [ROW | {"defense": name} for name in ("none", "clean")], cells)
    found = [(line.defense, line.theirs.source if line.theirs else "", line.published("asr")) for line in lines]
    assert found == [
        ("none", SOURCES[0], 0.9),
        ("none", SOURCES[2], 0.7),
        ("ft", SOURCES[0], 0.5),
        ("clp", SOURCES[2], 0.5),
        ("tsbd", "", None),
    ]


def test_the_difference_is_ours_minus_theirs_and_the_setting_is_said(tmp_path: Path) -> None:
    study = made_up_study(TABLE, defense=["none", "ft", "tsbd", "clean"])

    def value(cell: Cell) -> dict[str, Any]:
        return {} if cell.attack == "none" else {"asr": 0.2 + 0.1 * int(cell.seed), "acc": 0.95}

    found = written(study, tmp_path, write_metrics(study, tmp_path, value))
    line = found["badnets", "ft", "asr"]
    theirs = next(
        cell
        for cell in read_published(str(FILE))
        if cell.victim == (SOURCES[0], "cifar10", "preact_resnet18", 0.1, "badnets") and cell.defense == "ft"
    )
    assert theirs.asr is not None and line["theirs"] == theirs.asr
    assert line["ours"] == pytest.approx(0.3) and (line["minimum"], line["seeds"]) == (pytest.approx(0.2), 3)
    assert line["difference"] == pytest.approx(0.3 - theirs.asr)
    assert line["their_dataset"] == "cifar10" and line["set_otherwise"] == "lr=0.1", "as the dataset's settings say"
    assert found["badnets", "tsbd", "asr"]["theirs"] is None and ("badnets", "clean", "asr") not in found
    for text in ("Theirs is not of the same dataset: cifar10 for digits.", "No published number is at hand of tsbd."):
        assert text in found["md"]
    assert "| tsbd" not in found["md"] and "digits, preact_small, ratio 0.08" in found["md"]
    assert "5 % clean data" in found["md"] and "\\toprule" in found["tex"]


def test_a_study_of_which_nothing_is_published_says_so(tmp_path: Path) -> None:
    study = made_up_study(TABLE, attack="badnets", defense=["tsbd"])
    (tmp_path / "none.csv").write_text(FILE.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    metrics = write_metrics(study, tmp_path, lambda cell: {})
    found = written(study, tmp_path, metrics, tmp_path / "none.csv")
    assert "Nothing of this has been published." in found["md"] and "| badnets" in found["md"]
    assert found["badnets", "tsbd", "asr"]["difference"] is None
