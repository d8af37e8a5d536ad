"""What a run says, and what becomes of it when something is wrong: in the same copy of the checkout."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from checkout import TINY, VICTIM, copy_of_checkout, digests, edit, list_processes, snakemake, start
from PIL import Image


def test_a_job_says_what_it_does(built: Path) -> None:
    """A line for each epoch, and a last one that says that it is done; nothing on the screen but Snakemake's own."""
    logs = list((built / "results/logs").rglob("*.log"))
    assert {path.parts[len(built.parts) + 2] for path in logs} == {
        *("prepare_data", "poison", "train", "retrain", "implant", "defend", "evaluate", "analyze", "collect"),
        *("tabulate", "plot"),
    }
    assert all(re.fullmatch(r"[\d:]{8} done in [\d.]+ s", path.read_text().splitlines()[-1]) for path in logs)
    lines = (built / VICTIM.replace("artifacts", "logs/train")).with_suffix(".log").read_text().splitlines()
    said = r"[\d:]{8} training: epoch 1 of 2: loss [\d.]+, accuracy [\d.]+ %, [\d.]+ s, \d+ s left"
    assert len(lines) == 3 and re.fullmatch(said, lines[0]) and "epoch 2 of 2" in lines[1]


def test_a_plan_fits_on_a_screen(built: Path) -> None:
    output = snakemake(built, "-n", "--forceall")
    assert len(output.splitlines()) <= 50 and "wildcards" not in output and re.search(r"evaluate +15", output)


def test_a_run_says_what_there_is_to_do_and_which_cells_failed(copy: Path) -> None:
    edit(copy / "workflow_scripts/defenses/clp.py", lambda text: text.replace("self.u,", "{}['u'],"))
    output = snakemake(copy, fails=True)
    assert "backstop: tiny: 9 cells and 6 that they are read against, 0 to evaluate" in output
    assert re.search(r"backstop: about \d+ s on 2 at a time, by what such jobs have cost here\n", output)
    log = VICTIM.replace("artifacts", "logs/defend") + "/clp.log"
    ending = output.partition("Exiting because")[2]
    said = r"[\d:]+ failed: KeyError: 'u' .workflow_scripts/defenses/clp.py, line"
    assert re.search(rf"backstop: defend did not get done; {log} ends with\s+{said}", ending)
    assert "with partial=true behind --config it makes tables of what is there" in ending and "Traceback" not in output
    assert "Traceback" in (copy / log).read_text()


def test_an_interrupted_run_ends_without_a_traceback(copy: Path) -> None:
    """Interrupted as one trains: of a job that Python still starts there would be one."""
    shutil.rmtree(copy / VICTIM)
    log = (copy / VICTIM.replace("artifacts", "logs/train")).with_suffix(".log")
    log.unlink()
    process = start(copy, "--cores", "1")
    deadline = time.monotonic() + 120
    while not (log.exists() and "epoch" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and "on user request" in output and "Traceback" not in output


def test_data_that_are_not_there(copy: Path) -> None:
    """They stop a study that was asked for by its name, before the first job; a pattern leaves it out."""
    grid = TINY["grid"] | {"dataset": "lost"}
    (copy / "studies/tinyelsewhere.yaml").write_text(yaml.safe_dump({**TINY, "grid": grid}))
    grid = TINY["grid"] | {"model": "probe+extractor~clip"}
    (copy / "studies/tinyclip.yaml").write_text(yaml.safe_dump({**TINY, "grid": grid}))
    (copy / "studies/tinybroken.yaml").write_text("grid: [")
    edit(
        copy / "config.yaml",
        lambda text: re.sub(r"^datasets:", "datasets:\n  lost: {loader: parquet, file: a.parquet}", text, flags=re.M),
    )
    for name, message in (
        ("tinyelsewhere", "a.parquet"),
        ("tinyclip", "data/clip: there is no open_clip_config"),
    ):
        output = snakemake(copy, "-n", "--config", f"studies=[{name}]", fails=True)
        assert message in output and "Traceback" not in output
    for arguments in (["-n"], []):
        output = snakemake(copy, *arguments, "--config", "studies=[tiny*]")
        for name in ("tinyelsewhere", "tinyclip", "tinybroken"):
            assert re.search(rf"backstop: left out: .*{name}", output)


def test_a_picture_that_is_not_there(tmp_path: Path) -> None:
    """Or is none: it stops a study that was asked for by its name, before the first job; a pattern leaves it out. What
    has been made with it needs it no more."""
    copy = copy_of_checkout(tmp_path)
    pictures = copy / "data/pictures"
    pictures.mkdir(parents=True)
    (pictures / "torn.png").write_bytes(b"none")
    Image.new("RGB", (20, 10), "red").save(pictures / "whole.png")
    for name in ("kitty", "torn", "whole"):
        grid = TINY["grid"] | {"attack": {"blended": {"picture": name}}, "defense": "none", "seed": [0]}
        (copy / f"studies/mixed{name}.yaml").write_text(yaml.safe_dump({"grid": grid, "analysis": "triggers"}))
    for name, message in (
        ("kitty", "picture is 'kitty', of which there is no image in data/pictures; there are: drawn, torn, whole"),
        ("torn", "data/pictures/torn.png is no image"),
    ):
        output = snakemake(copy, "--config", f"studies=[mixed{name}]", fails=True)
        assert f"backstop: mixed{name}: {message}" in output and "Traceback" not in output and "Job stats" not in output
    output = snakemake(copy, "-n", "--config", "studies=[mixed*]")
    assert "left out: mixedkitty: picture is 'kitty'" in output and "left out: mixedtorn: data/pictures/torn" in output
    (pictures / "whole.png").unlink()
    place = copy / "results/artifacts/digits/blended+picture~whole/ratio~0.1/seed~0"
    place.mkdir(parents=True)
    (place / "poison.parquet").touch()
    snakemake(copy, "-n", "--config", "studies=[mixedwhole]")
    edit(copy / "studies/mixedwhole.yaml", lambda text: text.replace("- 0", "- 0\n  - 1"))
    output = snakemake(copy, "-n", "--config", "studies=[mixedwhole]", fails=True)
    assert "backstop: mixedwhole: picture is 'whole'" in output, "for another seed nothing has been made"


def test_kills_at_random_places_change_nothing(built: Path, copy: Path) -> None:
    """Of Snakemake with its jobs, of Snakemake alone, of a job. What is whole is not made again."""
    draw = random.Random(seed := random.randrange(2**32))
    print(f"random.Random({seed})")
    kept = (copy / VICTIM.replace("badnets", "wanet") / "victim.safetensors").stat().st_mtime_ns
    shutil.rmtree(copy / VICTIM)
    for kill in draw.sample([kill_all, kill_main, kill_job], 3):
        process = start(copy)
        wait_somewhere(process, draw)
        kill(process, copy, draw)
        output, _ = process.communicate()
        assert "Traceback" not in output
        if kill is not kill_job:
            snakemake(copy, "--unlock")
    snakemake(copy)
    assert digests(copy) == digests(built) and "Nothing to be done" in snakemake(copy, "-n")
    assert kept == (copy / VICTIM.replace("badnets", "wanet") / "victim.safetensors").stat().st_mtime_ns


def wait_somewhere(process: subprocess.Popen[str], draw: random.Random) -> None:
    """Until one of the first jobs has begun, and a while."""
    left = draw.randrange(1, 4)
    for line in process.stdout or ():
        left -= line.startswith("Execute")
        if not left:
            break
    time.sleep(draw.uniform(0, 1.5))


def kill_all(process: subprocess.Popen[str], copy: Path, draw: random.Random) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def kill_main(process: subprocess.Popen[str], copy: Path, draw: random.Random) -> None:
    os.kill(process.pid, signal.SIGKILL)


def kill_job(process: subprocess.Popen[str], copy: Path, draw: random.Random) -> None:
    jobs: list[int] = []
    while not jobs and process.poll() is None:
        jobs = list_processes(rf"^\S+ {copy}/.snakemake/scripts/")
    if jobs:
        os.kill(draw.choice(jobs), signal.SIGKILL)


def test_collect_refuses_what_is_stale(copy: Path) -> None:
    """After `dvc pull`, Snakemake knows of no earlier run: whatever is newer than its inputs looks made."""
    edit(copy / "workflow_scripts/defenses/clp.py", lambda text: text.replace("self.u,", "1.0 * self.u,"))
    output = snakemake(
        copy, "--rerun-triggers", "mtime", "--forcerun", "collect", "--", "results/metrics/tiny.parquet", fails=True
    )
    assert re.search(r"backstop: results/artifacts/.*clp/\S+ is stale", output)
    assert "Traceback" not in output


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.parquet"])
def test_collect_notices_a_file_in_anothers_place(copy: Path, name: str) -> None:
    """Of the same size and time, as `cp -p` leaves it: neither that of the cell, nor what the cell was evaluated on."""
    own, other = (copy / VICTIM / defense / name for defense in ("clp", "abl"))
    times = own.stat()
    shutil.copy(other, own)
    os.utime(own, ns=(times.st_atime_ns, times.st_mtime_ns))
    output = snakemake(copy, "--forcerun", "collect", "--", "results/metrics/tiny.parquet", fails=True)
    assert re.search(rf"backstop: results/artifacts/.*clp/{name} is stale", output)


def test_a_users_mistake_is_a_line_and_no_traceback(copy: Path) -> None:
    edit(copy / "studies/tiny.yaml", lambda text: text.replace("- clp", "- clap"))
    output = snakemake(copy, "-n", fails=True)
    assert "backstop: studies/tiny.yaml: no 'clap' among the defenses; near it: clp" in output
    assert "Traceback" not in output


def test_a_broken_method_is_named(copy: Path) -> None:
    (copy / "workflow_scripts/attacks/mine.py").write_text("import os\ndef x(:\n")
    assert "backstop: workflow_scripts/attacks/mine.py, line 2: no Python: invalid syntax" in snakemake(
        copy, "-n", fails=True
    )


def test_what_nobody_asked_for_is_said(copy: Path) -> None:
    table = snakemake(copy, "-n", "--", "results/tables/mine.md", fails=True)
    assert "backstop: mine is of no study that is asked for; say which: --config 'studies=[NAME]'" in table
    assert "backstop: against which commit?" in snakemake(copy, "-n", "--", "against", fails=True)
    cache = snakemake(copy, "-n", "--profile", "cached", fails=True)
    assert "backstop: the cache has no folder; name the one" in cache and "Traceback" not in cache


def test_truncated_files_are_a_line_and_no_traceback(built: Path, copy: Path) -> None:
    """One of each kind, as old as before, and who reads it; once removed, the same command makes it again."""
    draw = random.Random(seed := random.randrange(2**32))
    print(f"random.Random({seed})")
    metrics = "results/metrics/tiny.parquet"
    truncated = {
        metrics: ("Parquet", "tabulate", "results/tables/tiny.md"),
        f"{VICTIM}/abl/metrics.json": ("JSON", "collect", metrics),
        f"{VICTIM}/clp/model.safetensors": ("safetensors", "evaluate", f"{VICTIM}/clp/metrics.json"),
    }
    for path, (kind, rule, goal) in truncated.items():
        before = (copy / path).stat()
        os.truncate(copy / path, draw.randrange(before.st_size - 1))
        os.utime(copy / path, ns=(before.st_atime_ns, before.st_mtime_ns))
        output = snakemake(copy, "--forcerun", rule, "--", goal, fails=True)
        assert f"backstop: {path}: not a readable {kind} file" in output and "Traceback" not in output
    for path in truncated:
        (copy / path).unlink(missing_ok=True)  # a job that failed has taken its own away
    snakemake(copy)
    assert digests(copy) == digests(built)
