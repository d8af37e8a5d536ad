"""What is said before a run, while a job runs, and after one that failed."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from workflow_scripts.common import progress
from workflow_scripts.common.cells import Study, Table
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.messages import (
    Cells,
    Work,
    describe_error,
    describe_failures,
    describe_left_out,
    describe_outlook,
    describe_results,
)
from workflow_scripts.jobs.step import step

VICTIM = "digits/badnets/ratio~0.1/seed~{}/preact_small"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The handlers of the test run come back."""
    before = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = before
    logging.captureWarnings(False)


def write_costs(root: Path, place: str, seconds: object) -> None:
    path = root / place / "costs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seconds": seconds}))


def works(root: Path, *places: str) -> list[Work]:
    return [Work("train", f"{root}/{place}/costs.json" if place else "", "") for place in places]


def test_an_outlook_goes_by_what_such_jobs_have_cost(tmp_path: Path) -> None:
    write_costs(tmp_path, VICTIM.format(0), 10)
    write_costs(tmp_path, VICTIM.format(0) + "/ft+epochs~100", 96)
    write_costs(tmp_path, "digits/auxiliaries/simclr/seed~0", 25)
    write_costs(tmp_path, VICTIM.format(7), "many")
    jobs = works(
        tmp_path, VICTIM.format(1), VICTIM.format(2) + "/ft+epochs~100", "digits/auxiliaries/simclr/seed~1", ""
    )
    *cells, line = describe_outlook(jobs, {"mine": Cells(7, 2, 4)}, str(tmp_path), workers=2)
    assert cells == ["mine: 7 cells and 2 that they are read against, 4 to evaluate"]
    assert line.startswith("about 70 s on 2 at a time"), "10 + 96 + 25, and the start of four jobs, by two"
    (other,) = describe_outlook(works(tmp_path, VICTIM.format(1) + "/ft"), {}, str(tmp_path), workers=1)
    assert other.startswith("about 98 s"), "nothing nearer is known than the method at other hyper-parameters"
    write_costs(tmp_path, "digits/lf/ratio~0.1/seed~0", 300)
    (search,) = describe_outlook(works(tmp_path, "digits/lf/ratio~0.05/seed~1"), {}, str(tmp_path), workers=1)
    assert search.startswith("about 5 min")
    (short,) = describe_outlook(works(tmp_path, ""), {}, str(tmp_path), workers=1)
    assert short == "about 2 s on 1 at a time", "by nothing that such jobs have cost"
    (unknown,) = describe_outlook(works(tmp_path, VICTIM.format(1) + "/anp"), {}, str(tmp_path), workers=1)
    assert unknown == "at least 2 s on 1 at a time; what 1 job will take beyond starting up is not known yet"


def test_many_studies_are_counted(tmp_path: Path) -> None:
    counts = {f"study{number}": Cells(2, 0, 2) for number in range(30)}
    lines = list(describe_outlook([], counts, str(tmp_path), workers=1))
    assert len(lines) == 14 and lines[-2] == "and 18 other studies with 36 cells"


def run_step(log: Path, error: BaseException | None = None) -> None:
    with step(log=str(log)):
        progress.LOG.info("epoch 1")
        if error:
            raise error


def test_a_log_ends_with_what_became_of_the_job(tmp_path: Path) -> None:
    run_step(tmp_path / "good")
    assert (tmp_path / "good").read_text().splitlines()[-1].partition(" ")[2].startswith("done in")
    for name, error, said in (
        ("user", UserError("no such thing"), "backstop: no such thing"),
        ("bug", KeyError("x"), "backstop: KeyError: 'x' .test_messages.py, line [0-9]+.; its traceback is in .*bug"),
        ("stopped", KeyboardInterrupt(), "backstop: interrupted"),
    ):
        with pytest.raises(SystemExit, match=said):
            run_step(tmp_path / name, error)
    assert "Traceback" in (tmp_path / "bug").read_text() and "Traceback" not in (tmp_path / "user").read_text()


def test_a_full_disk_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That its log cannot be written either is no reason for tracebacks on the screen."""
    with pytest.raises(SystemExit, match="No space left on device"), step(log="/dev/full"):
        Path("/dev/full").write_text("weights")
    assert "Traceback" not in capsys.readouterr().err


def test_without_a_log_a_bug_is_raised() -> None:
    with pytest.raises(KeyError), step():
        raise KeyError("x")


def test_the_jobs_that_did_not_end_are_named(tmp_path: Path) -> None:
    run_step(tmp_path / "good")
    (tmp_path / "killed").write_text("12:00:00 training: epoch 3 of 9\n")
    (tmp_path / "empty").touch()
    (tmp_path / "earlier").write_text("12:00:00 training: epoch 1 of 9\n")
    os.utime(tmp_path / "earlier", (0, 0))
    logs = [str(tmp_path / name) for name in ("good", "killed", "empty", "earlier", "never")]
    *lines, advice = describe_failures([Work("train", "", log) for log in (*logs, "")], since=1)
    assert [line.split()[5] for line in lines] == logs[1:3] and "epoch 3 of 9" in lines[0]
    assert all("it was killed" in line for line in lines)
    assert "partial=true" in advice
    assert list(describe_failures([Work("train", "", logs[0])], since=1)) == []


def test_why_a_job_of_a_cluster_failed_is_said(tmp_path: Path) -> None:
    """Of several in one Snakemake has no reason; of one on this machine, which says it itself, nothing is said."""
    message = (
        "SLURM-job '3' failed, SLURM status is: 'TIMEOUT'. Detailed failure reason unavailable (...).For further ..."
    )
    log = tmp_path / "3.log"
    log.write_text(
        "Error in rule train:\nslurmstepd-vm: error: *** JOB 3 CANCELLED DUE TO TIME LIMIT ***\nsrun: error: 1\n"
    )
    record = {"rule_name": "train", "rule_msg": message, "log": ["own.log", str(log)]}
    said = f"train failed: SLURM-job '3' failed, SLURM status is: 'TIMEOUT'; {log} says: *** JOB 3 CANCELLED DUE TO"
    assert [line.removesuffix(" TIME LIMIT ***") for line in describe_error(record)] == [said]
    assert list(describe_error(record | {"rule_msg": None})) == [] == list(describe_error({"msg": "1 of 2 steps"}))
    group = {
        "aux_logs": ["4.log"],
        "job_error_info": [{"rule_name": name} for name in ("defend", "evaluate", "defend")],
    }
    assert list(describe_error(group)) == ["defend, evaluate failed as one job; see 4.log"]


def test_a_run_that_went_well_says_where_its_results_are() -> None:
    shown = Study("mine", "Mine", (), (Table(kind="costs"),), ("heatmap",))
    measured = Study("other", "Other", (), (), (), ("sweep+percents~0x50",))
    assert list(describe_results([shown, measured])) == [
        "results/tables/mine_costs.md, results/figures/mine_*.png, results/metrics/mine.parquet",
        "results/analyses/sweep+percents~0x50/, results/metrics/other.parquet",
    ]


def test_what_was_left_out_is_named_once() -> None:
    given = {"studies/a.yaml": "studies/a.yaml: title is 1", "b": "b: data/clip is not there"}
    expected = ["left out: studies/a.yaml: title is 1", "left out: b: data/clip is not there"]
    assert list(describe_left_out(given)) == expected
    both = given | {"c": "c: data/clip is not there"}
    assert list(describe_left_out(both))[1:] == ["left out: data/clip is not there (2 studies: b, c)"]


def test_long_phases_report_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with caplog.at_level(logging.INFO, logger="backstop"):
        assert list(progress.report(range(20), "asking: batch", 20)) == list(range(20))
    assert 2 <= len(caplog.messages) < 10 and all(line.startswith("asking: batch ") for line in caplog.messages)
    assert [progress.format_duration(s) for s in (3, 600, 36000)] == ["3 s", "10 min", "10.0 h"]
