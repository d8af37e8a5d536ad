"""What moved since another commit: which numbers, and what changed with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import call

from workflow_scripts.common.errors import UserError
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.commits import read_rows_at
from workflow_scripts.evaluation.costs import COSTS
from workflow_scripts.evaluation.history import find_moved, find_step
from workflow_scripts.reporting.moved import to_markdown

CODE = {"digits/test.parquet": "a", "digits/m/victim.safetensors": "b", "digits/m/ft/model.safetensors": "c"}
EXTRACTOR = "digits/auxiliaries/simclr/seed~0/model.safetensors"
CODE[EXTRACTOR] = "d"


def row(defense: str, **changed: Any) -> Row:
    """A row of metrics with what its costs say."""
    code, digests = changed.pop("code", {}), changed.pop("digests", {})
    own = {key: value for key, value in CODE.items() if defense != "none" or "ft" not in key}
    own = {key: value for key, value in own.items() if defense == "none" or "victim" not in key}
    return {
        "dataset": "digits", "model": "m", "attack": "badnets", "ratio": 0.1, "seed": 0, "defense": defense,
        "protocol": "default", "control": False, "acc": 0.9, "asr": 0.5, "ra": 0.4, "der": 0.5,
        "attack_params": "{}", "model_params": "{}", "defense_params": '{"lr": 0.1}',
        "code": json.dumps(own | code), "digests": json.dumps(dict.fromkeys(own, "0") | digests),
        "device": "cpu", "versions": '{"torch": "2.9"}', **changed,
    }  # fmt: skip


BEFORE = [row("none"), row("ft")]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ([row("none"), row("ft", asr=0.25)], {}),
        ([row("none"), row("ft", asr=0.25, defense_params='{"lr": 0.2}')], {"settings": "defense lr 0.1 → 0.2"}),
        ([row("none"), row("ft", asr=0.25, code={"digits/m/ft/model.safetensors": "x"})], {"code": "defend"}),
        ([row("none", code={"digits/m/victim.safetensors": "x"}), row("ft", asr=0.25)], {"code": "train"}),
        ([row("none"), row("ft", asr=0.25, digests={"digits/test.parquet": "1"})], {"data": "digits/test.parquet"}),
        ([row("none"), row("ft", asr=0.25, versions='{"torch": "2.10"}')], {"versions": "torch 2.9 → 2.10"}),
        ([row("none"), row("ft", asr=0.25, device="H200")], {"versions": "cpu → H200"}),
        ([row("none"), row("ft", asr=0.25, code={EXTRACTOR: "x"})], {"code": "train_auxiliary"}),
    ],
)
def test_a_number_that_moved_is_listed_with_what_changed(after: list[Row], reason: dict[str, str]) -> None:
    (moved,) = find_moved(BEFORE, after)
    assert (moved["metric"], moved["before"], moved["after"], moved["change"]) == ("asr", 0.5, 0.25, -0.25)
    assert {key: moved[key] for key in ("settings", "code", "data", "versions") if moved[key]} == reason
    text = to_markdown("HEAD~1", [moved], 2, 0, 0)
    assert "−25.00" in text and all(value in text for value in reason.values())


def test_ordinary_training_is_what_the_der_of_a_defense_in_training_refers_to() -> None:
    before, after = (row("plain", code={"digits/m/victim.safetensors": code}) for code in ("b", "x"))
    (moved,) = find_moved([row("none"), before, row("abl")], [row("none"), after, row("abl", der=0.7)])
    assert (moved["metric"], moved["code"]) == ("der", "train")
    assert find_step("digits/wanet/m/victim.safetensors", "wanet") == "implant"


def test_what_did_not_move_is_not_listed() -> None:
    assert find_moved(BEFORE, [row("none", code={"digits/m/victim.safetensors": "x"}), row("clp")]) == []


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A clone in which DVC keeps results/; the function writes metrics there and commits them."""
    monkeypatch.chdir(tmp_path)

    def commit(asr: float, without: tuple[str, ...] = ()) -> None:
        for kind, schema in (("metrics", SCHEMA), ("costs", COSTS)):
            Path("results", kind).mkdir(parents=True, exist_ok=True)
            rows = [{**one, "asr": asr, "checks": []} for one in BEFORE]
            table = pa.Table.from_pylist([{key: one.get(key) for key in schema.names} for one in rows], schema)
            lacking = [key for key in without if key in table.column_names]
            pq.write_table(table.drop_columns(lacking), f"results/{kind}/tiny.parquet")
        call(tmp_path, "dvc", "add", "-q", "results/metrics", "results/costs")
        call(tmp_path, "git", "add", "-A")
        call(tmp_path, "git", "commit", "-qm", "a")

    call(tmp_path, "git", "init", "-q")
    call(tmp_path, "dvc", "init", "-q")
    return commit


def test_another_commits_numbers_come_out_of_dvc(repository: Callable[..., None]) -> None:
    paths = "results/metrics/tiny.parquet", "results/costs/tiny.parquet"
    repository(asr=0.5)
    repository(asr=0.75)
    assert {one["asr"] for one in read_rows_at("HEAD~1", *paths)} == {0.5}
    assert {one["asr"] for one in read_rows_at("HEAD", *paths)} == {0.75}
    assert read_rows_at("HEAD", "results/metrics/other.parquet", "results/costs/other.parquet") == []
    with pytest.raises(UserError, match="cannot be had: .*; name another by --config commit"):
        read_rows_at("HEAD~9", *paths)


def test_columns_that_came_later_are_not_asked_for(repository: Callable[..., None]) -> None:
    paths = "results/metrics/tiny.parquet", "results/costs/tiny.parquet"
    repository(asr=0.5, without=("trigger_ssim", "seconds"))
    assert {one["asr"] for one in read_rows_at("HEAD", *paths)} == {0.5}
    repository(asr=0.5, without=("asr",))
    with pytest.raises(UserError, match="of the commit HEAD: not .* column asr is missing.*; name another"):
        read_rows_at("HEAD", *paths)
