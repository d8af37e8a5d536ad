"""What defenses spend and how they vary over their settings: tables and figures of studies with made-up numbers."""

import types
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import made_up_study, write_costs, write_metrics

from workflow_scripts.common import arrow
from workflow_scripts.common.cells import Cell, Study, Table
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.reporting import costs, stability

SETTINGS = [0.01, 0.02, 0.05, 0.2]


def outputs(folder: Path) -> types.SimpleNamespace:
    return types.SimpleNamespace(**{form: str(folder / f"one.{form}") for form in ("parquet", "csv", "md", "tex")})


def study_of(kind: str, **grid: Any) -> Study:
    return made_up_study(Table(kind=kind), **grid)


def test_costs_are_of_what_runs_and_ders_of_what_is_implanted(tmp_path: Path) -> None:
    study, output = (
        study_of("costs", defense=["none", "ft", {"clp": {"selection": "random"}}, "clean"]),
        outputs(tmp_path),
    )

    def value(cell: Cell) -> dict[str, Any]:
        void = cell.attack == "sig" and cell.seed == "0"
        return {} if cell.attack == "none" else {"der": 0.0 if void else 0.8, "checks": ["not_implanted"] * void}

    costs.write(study, write_metrics(study, tmp_path, value), write_costs(study, tmp_path), output)
    lines = {line["defense"]: line for line in pq.read_table(output.parquet).to_pylist()}
    assert list(lines) == ["ft", "clp+selection~random"], "a model that is there costs nothing; controls are last"
    assert lines["ft"].pop("der") == pytest.approx(0.8)
    assert lines["ft"] | {"victims": 6, "seconds": 3.0, "forward_passes": 4000} == lines["ft"]
    text = Path(output.md).read_text()
    assert "*clp selection=random*" in text and "badnets (seeds 0 to 2), sig (seeds 1 to 2)" in text, text
    assert "0.75" in text, "3 seconds of 4"


def test_a_setting_asked_for_by_two_names_counts_once_and_a_protocol_is_none(tmp_path: Path) -> None:
    study, output = study_of("stability", defense=["ft", {"ft": {"lr": [0.1, 0.2]}}, "eigenguard"]), outputs(tmp_path)
    path = write_metrics(study, tmp_path, lambda cell: {"der": 0.5 if cell.defense == "ft" else 0.9})
    table = pq.read_table(path).to_pylist()
    more = [row | {"protocol": "mixed"} for row in table if row["defense"] == "eigenguard"]
    arrow.write_table(path, pa.Table.from_pylist([*table, *more], SCHEMA))
    stability.write(study, path, output)
    lines = pq.read_table(output.parquet).to_pylist()
    assert {(line["method"], line["settings"], line["own"]) for line in lines} == {("ft", 2, 0.5)}, "0.1 is digits' own"


def test_stability_is_over_settings_not_over_attacks(tmp_path: Path) -> None:
    study, output = study_of("stability", defense=["none", "ft", {"ft": {"lr": SETTINGS}}, "clean"]), outputs(tmp_path)
    ders = dict(zip(["ft", *(f"ft+lr~{lr:g}" for lr in SETTINGS)], [0.9, 0.2, 0.6, 0.7, 0.8], strict=True))

    def value(cell: Cell) -> dict[str, Any]:
        return {"der": ders.get(cell.defense, 0.5) + (0.1 if cell.attack == "sig" else 0.0)}

    stability.write(study, write_metrics(study, tmp_path, value), output)
    lines = {line["attack"]: line for line in pq.read_table(output.parquet).to_pylist()}
    assert set(lines) == {"badnets", "sig", "average"} and {line["method"] for line in lines.values()} == {"ft"}
    for attack, more in (("badnets", 0), ("sig", 0.1), ("average", 0.05)):
        line = lines[attack]
        found = [line[key] for key in ("own", "median", "worst", "best")]
        assert found == pytest.approx([own + more for own in (0.9, 0.7, 0.2, 0.9)])
        assert line["settings"] == 5 and line["worst_setting"] == "ft+lr~0.01" and line["best_setting"] == "ft"
    assert "ft,badnets,5,90.00,70.00,20.00,90.00" in Path(output.csv).read_text(), "in percent"
    assert "ft lr=0.01" in Path(output.md).read_text()
