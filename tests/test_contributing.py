"""CONTRIBUTING.md is taken at its word: its files are added to a checkout as they stand, and a study uses all."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from checkout import HERE, copy_of_checkout, snakemake

from workflow_scripts.common.arguments import ARGUMENTS
from workflow_scripts.common.images import Images

TEXT = (HERE / "CONTRIBUTING.md").read_text()
SHOWN = dict(re.findall(r"```python\n# (workflow_scripts/\S+)\n(.*?)```", TEXT, re.S))
SMALL = {"width": 4, "epochs": 2, "lr": 0.05, "batch_size": 32, "crop": 0, "flip": False}
SETTINGS = {
    "models": {"preact_small": SMALL, "shufflenet": {"epochs": 1, "batch_size": 32}, "probe": {"epochs": 2}},
    "attacks": {"unsure": {"surrogate": "preact_small"}},
    "defenses": {"anchored": {"epochs": 2, "holdout_size": 60}, "too_bright": {"holdout_size": 60}},
    "auxiliaries": {"supervised_crops": {"backbone": "preact_small"}},
}
GRID: dict[str, Any] = {"dataset": "mine", "attack": "unsure", "ratio": 0.1, "seed": 0}
STUDY = {
    "grid": [
        GRID | {"model": "preact_small", "defense": ["none", "anchored", "too_bright", {"filter": {"by": "easiest"}}]},
        GRID | {"model": ["shufflenet", "probe+extractor~supervised_crops"], "defense": "none"},
    ],
    "table": {"rows": "model", "columns": "defense", "values": ["acc", "asr"]},
    "analysis": "confidence",
    "figure": "confidence",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, digits: tuple[Images, Images]) -> Path:
    """A checkout with the shown files, in which a study with all of them has run."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("contributed"))
    for path, source in SHOWN.items():
        assert not (folder / path).exists(), "the file of a new method"
        (folder / path).write_text(source)
    (train, test) = digits
    images = {"x_train": train.images, "y_train": train.labels, "x_test": test.images, "y_test": test.labels}
    np.savez(folder / "mine.npz", **images)  # type: ignore[arg-type]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["datasets"]["mine"] = {"loader": "archive", "file": "mine.npz"}
    config["settings"]["mine"] = SETTINGS
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "studies/tiny.yaml").write_text(yaml.safe_dump(STUDY))
    snakemake(folder)
    return folder


def test_there_is_a_file_of_every_kind() -> None:
    kinds = {Path(path).parent.name for path in SHOWN}
    assert kinds == {
        *("datasets", "models", "attacks", "defenses", "detectors", "auxiliaries", "wrappers", "analyses", "figures")
    }


def test_a_new_method_of_every_kind_is_one_file(built: Path) -> None:
    rows = {(r["model"], r["defense"]): r for r in pq.read_table(built / "results/metrics/tiny.parquet").to_pylist()}
    attacked = [row for row in rows.values() if row["attack"] == "unsure"]
    assert {row["defense"] for row in attacked} >= {"none", "anchored", "too_bright", "filter+by~easiest"}
    assert {row["model"] for row in attacked} == {"preact_small", "shufflenet", "probe+extractor~supervised_crops"}
    assert (built / "results/figures/tiny_confidence.png").stat().st_size > 5000


def test_a_judge_of_inputs_rejects_and_scores_them(built: Path) -> None:
    (path,) = built.rglob("too_bright/predictions.parquet")
    answers = pq.read_table(path).to_pylist()
    row = json.loads((path.parent / "metrics.json").read_text())[0]
    test, triggered = ([a for a in answers if a["images"] == name] for name in ("test", "triggered"))
    assert all(a["rejected"] == (a["score"] > row_threshold(path)) for a in answers)
    assert row["rejected_test"] == np.mean([a["rejected"] for a in test])
    assert row["acc"] == np.mean([a["prediction"] == a["label"] and not a["rejected"] for a in test])
    assert row["asr"] == np.mean([a["prediction"] == a["target"] and not a["rejected"] for a in triggered])
    assert 0 < row["rejected_test"] < row["rejected_triggered"]


def row_threshold(path: Path) -> float:
    """The threshold that the wrapper of a saved model has."""
    from workflow_scripts.common import files

    return float(files.read_about(path.parent / "model.safetensors")["wrapper"]["most"])


def test_costs_and_provenance_follow_from_the_fields(built: Path) -> None:
    costs = {(r["model"], r["defense"]): r for r in pq.read_table(built / "results/costs/tiny.parquet").to_pylist()}
    assert costs["probe+extractor~supervised_crops", "none"]["auxiliary_seconds"] > 0
    assert costs["preact_small", "filter+by~easiest"]["auxiliary_seconds"] > 0
    assert costs["preact_small", "anchored"]["auxiliary_seconds"] == 0
    scores = built / "results/artifacts/mine/unsure/ratio~0.1/seed~0/preact_small/easiest/scores.parquet"
    table = pq.read_table(scores)
    assert table.column_names == ["index", "score", "flagged"] and sum(table["flagged"].to_pylist()) == 40


def test_the_table_of_arguments_is_that_of_the_code() -> None:
    rows = re.findall(r"^  \| `(\w+)` \| .+ \| ([a-z, ]+) \|$", TEXT, re.M)
    assert {name: set(kinds.split(", ")) for name, kinds in rows} == {n: set(a.may_ask) for n, a in ARGUMENTS.items()}
