"""Places on GPUs, with names that stand for GPUs: nobody has one twice, and whoever dies leaves it."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import HERE

from workflow_scripts.jobs.gpus import VISIBLE, count_places, hold_gpu

HOLD = "from workflow_scripts.jobs.gpus import *\nwith hold_gpu(1): print(os.environ[VISIBLE], flush=True); input()"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine of two GPUs, whose places nobody else knows."""
    monkeypatch.setenv(VISIBLE, "3, MIG-a/b")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


def test_every_gpu_is_filled_before_one_is_shared() -> None:
    assert count_places(2) == 4
    held = [hold_gpu(2) for _ in range(4)]
    seen = []
    for place in held:
        os.environ[VISIBLE] = "3, MIG-a/b"  # as in a process of its own
        place.__enter__()
        seen.append(os.environ[VISIBLE])
    assert seen == ["3", "MIG-a/b", "3", "MIG-a/b"]
    waited: list[str] = []

    def wait() -> None:
        os.environ[VISIBLE] = "3, MIG-a/b"
        with hold_gpu(2):
            waited.append(os.environ[VISIBLE])

    fifth = threading.Thread(target=wait)
    fifth.start()
    fifth.join(0.5)
    assert fifth.is_alive() and not waited, "there are four places"
    held[1].__exit__(None, None, None)
    fifth.join(5)
    assert waited == ["MIG-a/b"]
    for place in (held[0], *held[2:]):
        place.__exit__(None, None, None)


def test_anybody_may_wait_for_a_place(tmp_path: Path) -> None:
    before = os.umask(0o077)
    with hold_gpu(1):
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o444}
    os.umask(before)


def test_a_killed_job_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    job = subprocess.Popen([sys.executable, "-c", HOLD], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert job.stdout is not None and job.stdout.readline() == b"0\n"
    job.send_signal(signal.SIGKILL)
    job.wait()
    with hold_gpu(1):
        assert os.environ[VISIBLE] == "0"


def test_jobs_within_an_allocation_of_several_gpus_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with hold_gpu(1):
        assert os.environ[VISIBLE] == "3"


@pytest.mark.parametrize("scheduled", [{VISIBLE: ""}, {VISIBLE: "-1"}, {VISIBLE: "5", "SLURM_JOB_ID": "7"}])
def test_without_a_choice_nothing_is_held(
    scheduled: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key, value in scheduled.items():
        monkeypatch.setenv(key, value)
    before = os.environ[VISIBLE]
    with hold_gpu(1):
        assert os.environ[VISIBLE] == before and not list(tmp_path.iterdir())
