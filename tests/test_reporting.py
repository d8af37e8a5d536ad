"""From rows to a table, against one worked out by hand; figures that a reader can read."""

import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Hand, quick
from matplotlib.text import Text
from synthetic import SYNTHETIC

from workflow_scripts.analyses import Measured
from workflow_scripts.common import catalog, files
from workflow_scripts.common.cells import Cell, Study, Table
from workflow_scripts.evaluation.collecting import SCHEMA, summarize
from workflow_scripts.reporting import plotting, tables
from workflow_scripts.reporting.aggregate import AVERAGE, read_study_rows, table_cells

VALUES: dict[tuple[str, str], list[tuple[float, float | None]]] = {  # attack, defense -> (acc, asr) of seeds 0, 1, 2
    ("none", "none"): [(0.99, None), (0.98, None), (0.97, None)],
    ("none", "ft"): [(0.96, None), (0.96, None), (0.96, None)],
    ("none", "clean"): [(0.99, None), (0.98, None), (0.97, None)],
    ("badnets", "none"): [(0.98, 1.0), (0.98, 0.99), (0.98, 0.98)],
    ("badnets", "ft"): [(0.95, 0.1), (0.96, 0.2), (0.97, 0.3)],
    ("badnets", "clean"): [(0.99, 0.01), (0.98, 0.01), (0.97, 0.01)],
    ("sig", "none"): [(0.98, 0.9), (0.98, 0.9), (0.98, 0.2)],
    ("sig", "ft"): [(0.97, 0.5), (0.97, 0.3), (0.97, 0.1)],
    ("sig", "clean"): [(0.99, 0.02), (0.98, 0.02), (0.97, 0.02)],
}


def study() -> Study:
    cells = tuple(
        Cell("digits", "preact_small", attack, "0" if attack == "none" else "0.1", str(seed), defense)
        for attack, defense in VALUES
        for seed in range(3)
    )
    return Study("one", "By hand", cells, Table(("attack",), ("defense",), ("acc", "asr")), ("heatmap",))


@pytest.fixture
def metrics(tmp_path: Path) -> str:
    """A `metrics.parquet` of these values; SIG's third seed did not implant."""
    rows: list[dict[str, Any]] = []
    for cell in study().cells:
        acc, asr = VALUES[cell.attack, cell.defense][int(cell.seed)]
        failed = ["not_implanted"] if (cell.attack, cell.seed) == ("sig", "2") else []
        row = {**cell._asdict(), "ratio": float(cell.ratio), "seed": int(cell.seed), "protocol": "default"}
        rows.append({**row, "control": cell.defense == "clean", "acc": acc, "asr": asr, "checks": failed})
    path = tmp_path / "metrics.parquet"
    pq.write_table(pa.Table.from_pylist([{k: row.get(k) for k in SCHEMA.names} for row in rows], SCHEMA), path)
    return str(path)


def test_means_intervals_and_the_average(metrics: str) -> None:
    found = {(p.row, p.column, p.metric): p for p in table_cells(study(), read_study_rows(study(), metrics))}
    one = found["badnets", "ft", "asr"]
    assert one.mean == pytest.approx(0.2) and one.n == 3
    assert one.high == pytest.approx(0.2 + 4.30265 * 0.1 / 3**0.5, rel=1e-5)
    average = found[
        AVERAGE, "ft", "asr"
    ]  # seeds: (.1 + .5) / 2, (.2 + .3) / 2, .3: the cell that did not implant is out
    assert average.mean == pytest.approx((0.3 + 0.25 + 0.3) / 3) and (average.counted, average.cells) == (5, 6)
    assert found[AVERAGE, "ft", "acc"].mean == pytest.approx((0.96 + 0.965 + 0.97) / 3)


def test_the_table_in_four_forms(metrics: str, tmp_path: Path) -> None:
    output = types.SimpleNamespace(**{end: str(tmp_path / f"one.{end}") for end in ("parquet", "csv", "md", "tex")})
    tables.write(study(), metrics, output)
    assert (tmp_path / "one.csv").read_text().splitlines() == [
        "metric,row,none,ft,clean",
        "ACC,none,98.00,96.00,98.00",
        "ACC,badnets,98.00,96.00,98.00",
        "ACC,sig,98.00,97.00,98.00",
        "ACC,average,98.00,96.50,98.00",
        "ASR,none,,,",
        "ASR,badnets,99.00,20.00,1.00",
        "ASR,sig,66.67,30.00,2.00",
        "ASR,average,95.83,28.33,1.33",
    ]
    text = (tmp_path / "one.md").read_text()
    assert "| ASR      | badnets | 99.00 ± 2.48          | 20.00 ± 24.84" in text
    assert "30.00 ± 49.68 N1/3" in text and "95.83 ± 4.70 (5 of 6)" in text and "*clean*" in text
    assert "N not_implanted" in text and "over 3 seeds" in text
    long = pq.read_table(output.parquet)
    assert long.column_names == ["row", "column", "metric", "mean", "low", "high", "n"] and len(long) == 24
    assert "\\toprule" in (tmp_path / "one.tex").read_text()


def test_the_summary_is_in_percent_over_what_implanted(metrics: str) -> None:
    found = summarize(pq.read_table(metrics), {"one": [list(cell) for cell in study().cells]})
    assert found["one"]["ft"]["acc"] == pytest.approx(96.5)
    assert found["one"]["ft"]["asr"] == pytest.approx(28.33)
    assert found["one"]["ft"]["der"] is None


@pytest.fixture
def long_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more defense, whose label is as long as an ablation's."""
    for attack in ("badnets", "sig"):
        monkeypatch.setitem(VALUES, (attack, "random_pruning+epochs~20+share~0.5+layers~last"), [(0.9, 0.5)] * 3)


def example(name: str, number: int, hand: Hand) -> Measured:
    """What an analysis might say: of some a table made up, of any other what it measures of the small victim."""
    if name in SYNTHETIC:
        return SYNTHETIC[name](np.random.default_rng(number))
    found: Measured = quick("analyses", name)(**hand("analyses", name))
    return found


def analyzed(name: str, first_seed: bool, folder: Path, hand: Hand) -> list[str]:
    """The files of an analysis of the attacked cells of the study: of all, or of its victims."""
    seeds, every = ("0",) if first_seed else ("0", "1", "2"), "log" in catalog.describe("analyses", name).asks
    chosen = [cell for cell in study().cells if cell.seed in seeds and (every or cell.defense == "none")]
    paths = []
    for i, cell in enumerate(cell for cell in chosen if cell.attack != "none"):
        table, about = example(name, i, hand)
        paths.append(str(folder / f"{name}{i}.parquet"))
        files.write_table(paths[-1], table, {**cell._asdict(), **about})
    return paths


@pytest.mark.parametrize("name", catalog.list_methods("figures"))
def test_a_figure_has_no_labels_that_overlap(
    name: str, long_name: None, metrics: str, tmp_path: Path, hand: Hand
) -> None:
    described = catalog.describe("figures", name)
    asked = [key for key in described.asks if key in catalog.list_methods("analyses")]
    inputs = {key: analyzed(key, described.traits.get("first_seed", False), tmp_path, hand) for key in asked}
    figure = plotting.draw(name, {}, study(), Inputs(metrics=metrics, **inputs))
    output = types.SimpleNamespace(png=str(tmp_path / "a.png"), pdf=str(tmp_path / "a.pdf"))
    figure.canvas.draw()
    assert_apart(name, [text for axis in figure.axes for text in (axis.title, axis.yaxis.label) if axis.get_visible()])
    for axis in figure.axes:
        sides = ((axis.get_xticklabels(), axis.get_xlim()), (axis.get_yticklabels(), axis.get_ylim()))
        for i, (labels, limits) in enumerate(sides):
            drawn = [text for text in labels if min(limits) <= text.get_position()[i] <= max(limits)]
            assert_apart(name, [*drawn, axis.title])
        if axis.get_visible():
            assert axis.get_window_extent().height > 0.9 * figure.dpi, "labels leave no room for the picture"
    plotting.save(figure, output)
    assert Path(output.png).stat().st_size > 5000 and Path(output.pdf).read_bytes().startswith(b"%PDF")


def assert_apart(name: str, texts: Iterable[Text]) -> None:
    """That no two of these texts of a drawn figure overlap."""
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :]), (name, boxes)


class Inputs(types.SimpleNamespace):
    """Inputs of a rule: by attribute and by key."""

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)
