"""From rows to a table, against one worked out by hand."""

import types
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made_up import made_up_study, write_metrics

from workflow_scripts.common.cells import Cell, Study, Table
from workflow_scripts.evaluation.averages import Average, average_cells, common_places
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import name_rows
from workflow_scripts.evaluation.summary import summarize
from workflow_scripts.reporting import tables
from workflow_scripts.reporting.aggregate import AVERAGE, TableCell, table_cells
from workflow_scripts.reporting.estimates import describe_estimates, estimate, format_estimate
from workflow_scripts.reporting.latex import escape
from workflow_scripts.reporting.layout import LONGEST, WIDEST

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


def by_hand(cell: Cell) -> dict[str, Any]:
    """These values; SIG's third seed did not implant."""
    acc, asr = VALUES[cell.attack, cell.defense][int(cell.seed)]
    void = (cell.attack, cell.seed) == ("sig", "2")
    return {"acc": acc, "asr": asr, "der": None, "checks": ["not_implanted"] if void else []}


@pytest.fixture
def metrics(tmp_path: Path) -> str:
    return write_metrics(made_up_study(), tmp_path, by_hand)


def written(study: Study, metrics: str, folder: Path, kind: str = "cells") -> dict[str, str]:
    """The texts of a table, by their form, and the path of its Parquet."""
    forms = ("parquet", "csv", "md", "tex")
    output = types.SimpleNamespace(**{form: str(folder / f"one.{form}") for form in forms})
    tables.write(study, kind, metrics, output)
    return {form: Path(getattr(output, form)).read_text() for form in forms[1:]} | {"parquet": output.parquet}


def cells_of(study: Study, metrics: str) -> dict[tuple[str, str, str], TableCell]:
    found, _ = table_cells(study.tables[0], name_rows(study, pq.read_table(metrics).to_pylist()))
    return {(place.row, place.column, place.metric): place for place in found}


def test_estimates_by_hand() -> None:
    # 1, 2, 3: mean 2, s = 1, t(2, 0.975) = 4.3027: half width 4.3027 / sqrt 3
    found = estimate([3.0, 1.0, 2.0])
    assert found.mean == 2 and found.high is not None and (found.minimum, found.maximum, found.n) == (1, 3, 3)
    assert found.high - 2 == pytest.approx(4.30265 / 3**0.5, rel=1e-5)
    assert estimate([5.0]) == (5.0, None, None, 5.0, 5.0, 1) and estimate([]).mean is None


@pytest.mark.parametrize(
    ("values", "lowest", "text"),
    [
        ([0.0, 0.012, 0.98], 0.0, "33.1 [0–98]"),
        ([0.993, 0.996, 0.998], 0.0, "99.6 [99.3–99.8]"),
        ([0.5], 0.0, "50.0"),
        ([], 0.0, "–"),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.9], 0.0, "15.0 [0–54]"),  # t: -24 to 54
        ([0.01, -0.02, 0.04], -1.0, "+1.0 [−2 to +4]"),
        ([-0.3, -0.1], -1.0, "−20.0 [−30 to −10]"),
        ([0.0001, -0.0001], -1.0, "0.0 [0 to 0]"),
    ],
)
def test_a_person_reads_the_range_of_a_few_seeds_and_the_interval_of_many(
    values: list[float], lowest: float, text: str
) -> None:
    assert format_estimate(estimate(values), lowest) == text


def test_what_is_shown_is_said() -> None:
    assert describe_estimates([1, 1]).endswith(": of one seed, from which nothing follows for others.")
    assert "over 3 seeds with their range" in describe_estimates([3]) and "2 to 5 seeds" in describe_estimates([2, 5])
    assert "over 10 seeds with Student's t 95 % interval, cut to 0 to 100," in describe_estimates([10])


def test_averages_count_the_same_cells_in_every_column(metrics: str) -> None:
    found = cells_of(made_up_study(), metrics)
    assert found["badnets", "ft", "asr"].estimate.mean == pytest.approx(0.2)
    average = found[AVERAGE, "ft", "asr"]
    # the cell that did not implant is out; what the seeds differ by is then that one of them lacks SIG
    assert average.estimate.mean == pytest.approx((0.1 + 0.5 + 0.2 + 0.3 + 0.3) / 5)
    assert (average.counted, average.cells, average.estimate.interval(0, 1)) == (5, 5, None)
    assert found[AVERAGE, "ft", "acc"].estimate.mean == pytest.approx((0.95 + 0.97 + 0.96 + 0.97 + 0.97) / 5)


def test_an_average_has_a_range_over_seeds_where_they_have_the_same_attacks(tmp_path: Path) -> None:
    asr = {"badnets": 0.0, "sig": 0.9}

    def value(cell: Cell) -> dict[str, Any]:
        return {} if cell.attack == "none" else {"asr": asr[cell.attack] + int(cell.seed) / 100}

    found = cells_of(made_up_study(), write_metrics(made_up_study(), tmp_path, value))
    assert found[AVERAGE, "ft", "asr"].estimate.interval(0, 1) == pytest.approx((0.45, 0.47))


def test_nothing_is_gained_by_diverging_on_the_hardest_attack(tmp_path: Path) -> None:
    def diverged(cell: Cell) -> dict[str, Any]:
        failed = ["diverged"] if (cell.attack, cell.seed, cell.defense) == ("sig", "1", "ft") else []
        return by_hand(cell) | {"checks": [*by_hand(cell)["checks"], *failed]}

    path = write_metrics(made_up_study(), tmp_path, diverged)
    texts = written(made_up_study(), path, tmp_path)
    assert "– (4 of 5)" in texts["md"] and "95.4 " in texts["md"], "the others keep their average"
    assert "Where seeds have not the same attacks, an average has no range" in texts["md"]
    assert "Averages are over badnets (seeds 0 to 2), sig (seeds 0 to 1), the 5 cells that" in texts["md"]
    summary = summarize(made_up_study(), pq.read_table(path).to_pylist())
    assert summary["ft"]["asr"] is None and summary["none"]["asr"] == pytest.approx(95.4)


def test_what_one_column_has_not_implanted_no_column_counts() -> None:
    rows: list[Row] = [{"attack": a, "seed": 0, "asr": 0.5, "checks": []} for a in ("badnets", "wanet", "none")]
    elsewhere = {"attack": "wanet", "seed": 0, "asr": 0.1, "checks": ["not_implanted"]}
    assert common_places([*rows, elsewhere]) == [("badnets", 0)]
    assert average_cells(rows, "asr", [("badnets", 0), ("sig", 0)]) == Average(None, (), True, 1)
    assert average_cells(rows, "asr", []) == Average(None, (), True, 0)


def test_the_table_in_four_forms(metrics: str, tmp_path: Path) -> None:
    texts = written(made_up_study(), metrics, tmp_path)
    assert texts["csv"].splitlines() == [
        "metric,row,none,ft,clean",
        "ACC,none,98.00,96.00,98.00",
        "ACC,badnets,98.00,96.00,98.00",
        "ACC,sig,98.00,97.00,98.00",
        "ACC,average,98.00,96.40,98.20",
        "ASR,none,,,",
        "ASR,badnets,99.00,20.00,1.00",
        "ASR,sig,66.67,30.00,2.00",
        "ASR,average,95.40,28.00,1.40",
    ]
    assert "| ASR      | badnets  | 99.0 [98–100]" in texts["md"] and "| 20.0 [10–30]" in texts["md"]
    assert "30.0 [10–50] N1/3" in texts["md"] and "*clean*" in texts["md"]
    assert "N not_implanted" in texts["md"] and "over 3 seeds" in texts["md"]
    assert "The dataset is digits, the model preact_small and the poisoning ratio 0.08." in texts["md"]
    long = pq.read_table(texts["parquet"]).to_pylist()
    assert list(long[0]) == ["block", "row", "column", "metric", "mean", "low", "high", "minimum", "maximum", "n"]
    one = next(line for line in long if (line["row"], line["column"], line["metric"]) == ("badnets", "ft", "asr"))
    assert one["high"] == pytest.approx(0.2 + 4.30265 * 0.1 / 3**0.5, rel=1e-5)
    assert one["low"] < 0, "as it is, for those who go on reckoning" and (one["minimum"], one["maximum"]) == (0.1, 0.3)
    assert "\\toprule" in texts["tex"] and "30.0 [10--50] N1/3" in texts["tex"]


def test_latex_prints_a_text_as_it_is() -> None:
    given = "a_b & 5 % of {x}^2 ~ #1 $ \\ − ± ×"
    expected = r"a\_b \& 5 \% of \{x\}\textasciicircum{}2 \textasciitilde{} \#1 \$ \textbackslash{} $-$ $\pm$ $\times$"
    assert escape(given) == expected


def test_differences_are_paired_over_seeds(tmp_path: Path) -> None:
    """ASR of victims that differ by 0.4 from seed to seed, and of each its fine-tuning 0.1 lower."""
    table = Table(("attack",), ("defense",), ("asr",), "paired", ("none",))
    study = made_up_study(table, attack="badnets", defense=["none", "ft", "clean"])

    def value(cell: Cell) -> dict[str, Any]:
        return {"asr": 0.1 + 0.4 * int(cell.seed) - 0.1 * (cell.defense == "ft")}

    texts = written(study, write_metrics(study, tmp_path, value), tmp_path, "paired")
    assert "−10.0 [−10 to −10]" in texts["md"] and "| *clean*" in texts["md"] and "| none" not in texts["md"]
    assert "It is the difference to none at the same victim and seed, in points." in texts["md"]


def test_ratios_are_paired_and_what_diverged_tells_nothing(tmp_path: Path) -> None:
    """Against a ratio, which rows hold as a number; and against a column that diverged at one of three seeds."""
    table = Table(("attack",), ("ratio",), ("asr",), "paired", ("0.05",))
    study = made_up_study(table, ratio=[0.05, 0.08], defense="none")
    path = write_metrics(study, tmp_path, lambda cell: {} if cell.attack == "none" else {"asr": float(cell.ratio)})
    assert "ASR,badnets,3.00" in written(study, path, tmp_path, "paired")["csv"]

    table = Table(("attack",), ("defense",), ("acc",), "paired", ("ft",))
    study = made_up_study(table, defense=["ft", {"ft": {"lr": 0.01}}])

    def value(cell: Cell) -> dict[str, Any]:
        return {"checks": ["diverged"] if (cell.defense, cell.seed) == ("ft", "1") else []}

    text = written(study, write_metrics(study, tmp_path, value), tmp_path, "paired")["md"]
    assert " D1/3" in text and "– (4 of 6)" in text, text


def test_answers_to_several_protocols_are_never_one_number(tmp_path: Path) -> None:
    study = made_up_study(Table(("attack",), ("model",), ("asr",)), defense="eigenguard")
    shares = {"homogeneous": 0.9, "mixed": 0.1}
    path = write_metrics(study, tmp_path, lambda cell: {})
    rows = [row | {"protocol": key, "asr": at} for row in pq.read_table(path).to_pylist() for key, at in shares.items()]
    found, _ = table_cells(study.tables[0], name_rows(study, rows))
    means = {place.row: (place.estimate.mean, place.estimate.n) for place in found if place.row != "none"}
    for name, share in shares.items():
        assert means[f"badnets [{name}]"] == means[f"average [{name}]"] == (pytest.approx(share), 3)


def test_a_column_is_compared_with_the_one_of_its_own_method(tmp_path: Path) -> None:
    table = Table(("attack",), ("defense",), ("asr",), "paired", ("ft", "tsbd"))
    ablations = ["none", "ft", "tsbd", {"ft": {"lr": [0.01]}}, {"tsbd": {"n": [0.3]}}]
    study = made_up_study(table, attack="badnets", defense=ablations)
    asr = {"none": 1.0, "ft": 0.5, "tsbd": 0.2, "ft+lr~0.01": 0.6, "tsbd+n~0.3": 0.1, "clean": 0.0}
    path = write_metrics(study, tmp_path, lambda cell: {"asr": asr[cell.defense]})
    lines = written(study, path, tmp_path, "paired")["csv"].splitlines()
    assert lines == ["metric,row,ft+lr~0.01,tsbd+n~0.3", "ASR,badnets,10.00,-10.00"], "one attack has no average"


def test_two_ratios_two_datasets_and_a_swept_field_are_never_one_number(tmp_path: Path) -> None:
    table = Table(("dataset", "attack", "ratio"), ("defense",), ("asr",))
    sweep = ["none", {"ft": {"lr": [0.01, 0.1]}}]
    study = made_up_study(table, dataset=["digits", "cifar10"], ratio=[0.05, 0.01], defense=sweep)

    def value(cell: Cell) -> dict[str, Any]:
        parts = (cell.dataset == "cifar10", cell.ratio == "0.05", cell.attack == "sig", "ft" in cell.defense)
        return {} if cell.attack == "none" else {"asr": sum(part / 10 * 2**i for i, part in enumerate(parts)) / 2}

    texts = written(study, write_metrics(study, tmp_path, value), tmp_path)
    assert "## digits" in texts["md"] and "## cifar10" in texts["md"], "two datasets are two blocks"
    found = {tuple(line.split(",")[:3]): line.split(",")[3:] for line in texts["csv"].splitlines()}
    assert found["block", "metric", "row"] == ["none", "ft+lr~0.01", "ft+lr~0.1"], "one column on both datasets"
    assert found["digits", "ASR", "badnets 0.05"] == ["10.00", "50.00", "50.00"]
    assert found["digits", "ASR", "badnets 0.01"] == ["0.00", "40.00", "40.00"]
    assert found["cifar10", "ASR", "average 0.05"] == ["25.00", "65.00", "65.00"], "over attacks, not over ratios"
    summary = summarize(study, pq.read_table(tmp_path / "metrics.parquet").to_pylist())
    assert summary["cifar10 0.05 ft+lr~0.1"]["asr"] == 65.0 and summary["digits 0.01 none"]["asr"] == 10.0


def test_a_table_of_forty_columns_is_turned_and_one_that_is_wide_both_ways_is_split(tmp_path: Path) -> None:
    table = Table(("attack", "ratio"), ("defense",), ("acc", "asr"))
    many = ["none", {"clp": {"u": [i / 10 for i in range(1, 40)]}}]
    study = made_up_study(table, ratio=[0.01, 0.05, 0.08], defense=many)
    texts = written(study, write_metrics(study, tmp_path, lambda cell: {}), tmp_path)
    for form, separator in (("md", "|"), ("tex", "&")):
        widths = {line.count(separator) for line in texts[form].splitlines() if line.count(separator) > 1}
        assert max(widths) <= WIDEST + 2, form
    assert texts["md"].count("\n## ") == texts["tex"].count("\\begin{table}") == 4
    assert texts["md"].count("| clp u=3.9 ") == 4 and "## ACC (1 of 2)" in texts["md"]
    captions = [line for line in texts["tex"].splitlines() if line.startswith("\\caption")]
    assert all(caption.endswith(".}") for caption in captions) and len(captions) == 4


def test_a_table_of_many_rows_is_cut_where_a_page_ends(tmp_path: Path) -> None:
    table = Table(("attack", "model"), ("defense",), ("acc", "asr"))
    models = {"preact_small": {"width": [4 * i for i in range(1, 41)]}}
    study = made_up_study(table, model=models, defense="none")
    texts = written(study, write_metrics(study, tmp_path, lambda cell: {}), tmp_path)
    parts = texts["md"].split("\n## ")
    assert len(parts) == 1 + 4 + 3, "40 models with and without attack and their averages: 160 ACC, 120 ASR"
    assert max(part.count("\n| ") for part in parts) <= LONGEST + 1 and texts["md"].count("width=160 ") == 7
    averages = [line for line in texts["md"].splitlines() if "| average" in line and "width=4 " in line]
    assert len(averages) == 2


def test_the_summary_is_in_percent_over_what_implanted(metrics: str) -> None:
    found = summarize(made_up_study(), pq.read_table(metrics).to_pylist())
    assert found["ft"]["acc"] == pytest.approx(96.4)
    assert found["ft"]["asr"] == pytest.approx(28.0)
    assert found["ft"]["der"] is None
