"""The profile on a real Slurm: the same results as on this machine alone, what its jobs were given, a fault."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import VICTIM, copy_of_checkout, digests, planned, snakemake, start
from node import PROFILE, run, slurm_node, wait_for

WORDS = ("Traceback", "account", "WARNING", "Unable", "error")
"""What a run without trouble has no reason to say."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the study has been run without Slurm."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("local"))
    snakemake(folder, "--config", "keep_models=false")
    return folder


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Slurm on this machine."""
    with slurm_node(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture(scope="module")
def submitted(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One in which it has been run through the profile, and what Snakemake said."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("cluster"))
    said = snakemake(folder, *PROFILE, "--config", "studies=[tiny]")
    return folder, said


def test_the_results_are_those_of_one_machine(local: Path, submitted: tuple[Path, str]) -> None:
    ours, theirs = digests(local), digests(submitted[0])
    assert ours.keys() == theirs.keys() and len(ours) > 50
    assert not [path for path in ours if ours[path] != theirs[path]]


def test_nothing_strays(submitted: tuple[Path, str]) -> None:
    assert not [line for line in submitted[1].splitlines() if any(word in line for word in WORDS)]


def test_a_job_has_one_gpu_and_those_that_write_tables_none(submitted: tuple[Path, str]) -> None:
    jobs = [job for job in run("scontrol", "show", "jobs").split("\n\n") if "JobId" in job]
    gpus = Counter(tuple(re.findall(r"TresPerNode=gres:gpu:(\d+)", job)) for job in jobs)
    assert gpus.keys() == {(), ("1",)}
    rules = planned(submitted[0], "--forceall")
    alone = sum(rules.values()) - rules["defend"] - rules["evaluate"] - rules["all"]
    victims = Counter(path.parents[1] for path in (submitted[0] / "results/artifacts").rglob("metrics.json"))
    assert len(jobs) == alone + sum(-(-cells // 4) for cells in victims.values()), "four cells of a victim are one job"
    assert all("Account=lab" in job for job in jobs)


def test_a_job_that_was_canceled_is_tried_again(submitted: tuple[Path, str]) -> None:
    """The user reads of it, and gets the same."""
    folder = submitted[0]
    before = digests(folder)
    shutil.rmtree(folder / VICTIM / "clp")
    process = start(folder, *PROFILE, "--config", "studies=[tiny]", "--", f"{VICTIM}/clp/metrics.json")
    wait_for(lambda: bool(run("squeue", "-h", "-t", "RUNNING")), 90)
    run("scancel", *run("squeue", "-h", "-t", "RUNNING", "-o", "%i").split())
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    assert re.search("backstop: defend, evaluate failed as one job; .*results/logs/slurm/.* says: .*CANCELLED", output)
    assert digests(folder) == before
