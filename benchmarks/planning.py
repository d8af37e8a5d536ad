"""What planning costs: grids of 1,000 to 30,000 cells, the settings that Snakemake's users recommend, and what every
job pays for parsing the Snakefile again.

    python -m benchmarks.planning > benchmarks/planning.md
    python -m benchmarks.planning short

In a clone of this checkout's HEAD, with the environment of the Python that runs it. `short`, for trying this script,
has a fiftieth of the cells. Memory is the peak of the process. Where jobs are run, their scripts write empty files:
what is measured is Snakemake.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import yaml

from benchmarks.first_hour import clone_head

DEFENSES = ["none", "ft", "fp", "clp", "anp", "tsbd", "fmp", "nad", "rnp", "ep"]
ATTACKS = ["badnets", "blended", "lf", "wanet", "sig"]
SIZES = (1_000, 10_000, 30_000)
RUN = 150
"""Cells of the study whose jobs are run."""
PLANNED = {
    "as the profile has it": [],
    "`--rerun-triggers mtime`": ["--rerun-triggers", "mtime"],
    "`--batch all=1/10`": ["--batch", "all=1/10"],
    "`--batch collect=1/10`": ["--batch", "collect=1/10"],
    "`-q`": ["-q"],
}
RAN = {
    "as the profile has it (`scheduler: greedy`)": [],
    "`--scheduler ilp`": ["--scheduler", "ilp"],
    "`--scheduler-subsample 50`": ["--scheduler-subsample", "50"],
    "`--persistence-backend db`": ["--persistence-backend", "db"],
    "`--max-jobs-per-timespan 1000/1s`": ["--max-jobs-per-timespan", "1000/1s"],
}
STAND_IN = '''"""A job that does nothing."""

from pathlib import Path

for path in snakemake.output:
    if path.endswith(".rows"):
        Path(path).mkdir(parents=True)
    else:
        Path(path).write_text("")
'''
EMPTY = 'rule all:\n    output: "all"\n    shell: "touch {output}"\n'
JOB = ("--target-jobs", "poison:dataset=digits,attack=badnets,ratio=0.05,seed=0", "--allowed-rules", "poison")
"""What a job of a cluster is called with, but for where it runs."""


@dataclass(frozen=True)
class Spent:
    """What a command took, and what it said."""

    seconds: float
    megabytes: float
    said: str


def main(how: str = "") -> None:
    """Print the report as Markdown."""
    scale = 50 if how == "short" else 1
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary).resolve() / "clone"
        commit = clone_head(folder)
        snakemake = subprocess.check_output([sys.executable, "-m", "snakemake", "--version"], text=True).strip()
        sizes = [size // scale for size in SIZES]
        for size in (*sizes, RUN // scale):
            write_study(folder, size)
        command = " ".join(["python -m benchmarks.planning", how]).strip()
        print(f"# What planning costs\n\n`{command}`, a clone of {commit}, {os.cpu_count()} cores, ", end="")
        print(f"Snakemake {snakemake}, Python {platform.python_version()}. Single runs but where it says more.")
        report_parses(folder, sizes)
        report_plans(folder, sizes)
        report_settings(folder, sizes[1])
        report_runs(folder, RUN // scale)


def write_study(folder: Path, cells: int) -> None:
    """A study of so many cells: every victim has ten defenses, every seed five attacks."""
    seeds = list(range(cells // (len(ATTACKS) * len(DEFENSES)) or 1))
    grid = {
        "dataset": "digits",
        "model": "preact_small",
        "attack": ATTACKS,
        "ratio": 0.05,
        "seed": seeds,
        "defense": DEFENSES,
    }
    study = {"grid": grid, "table": {"rows": "attack", "columns": "defense", "values": ["acc", "asr"]}}
    (folder / f"studies/plan{cells}.yaml").write_text(yaml.safe_dump(study))


def call(folder: Path, *arguments: str) -> Spent:
    """Snakemake in a folder, its seconds and its memory. AssertionError, with what it said, if it fails."""
    log = folder.parent / "said.txt"
    started = time.perf_counter()
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments], cwd=folder, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(encoding="utf-8", errors="replace")
    assert process.returncode == 0, text[-2000:]
    return Spent(time.perf_counter() - started, usage.ru_maxrss / 1024, text)


def report_parses(folder: Path, sizes: list[int]) -> None:
    """What a job pays before it begins, beside a workflow of one rule."""
    print("\n## A parse, paid once a job\n")
    print("Planning one job as Slurm's jobs do it (each has three such starts), the median of five.\n")
    bare = folder.parent / "bare"
    bare.mkdir()
    (bare / "Snakefile").write_text(EMPTY)
    common = ("-n", "-q", "--cores", "1")
    print("| workflow | seconds | MB |\n|---|---|---|")
    print_row("a Snakefile of one rule", [call(bare, *common) for _ in range(5)])
    for name in ("quickstart", *(f"plan{size}" for size in sizes)):
        spent = [call(folder, *common, *JOB, "--mode", "remote", "--config", f"studies=[{name}]") for _ in range(5)]
        print_row(f"Backstop, `studies=[{name}]`", spent)


def print_row(name: str, spent: list[Spent], *others: str) -> None:
    """One line of a table: the medians."""
    seconds, memory = (median(getattr(one, key) for one in spent) for key in ("seconds", "megabytes"))
    print(" | ".join([f"| {name}", *others, f"{seconds:.1f}", f"{memory:.0f} |"]), flush=True)


def report_plans(folder: Path, sizes: list[int]) -> None:
    """The whole plan of a study of which nothing has been run."""
    print("\n## A plan\n\n`snakemake -n` of a study of which nothing has been run.\n")
    print("| cells | jobs | seconds | MB |\n|---|---|---|---|")
    for size in sizes:
        spent = call(folder, "-n", "--config", f"studies=[plan{size}]")
        print_row(f"{size:,}", [spent], f"{count_jobs(spent.said):,}")


def count_jobs(said: str) -> int:
    return int(next(line.split()[1] for line in said.splitlines() if line.startswith("total ")))


def report_settings(folder: Path, size: int) -> None:
    """What is recommended for large plans."""
    print(f"\n## Settings, on {size:,} cells\n\n| planned with | seconds | MB |\n|---|---|---|")
    for name, arguments in PLANNED.items():
        print_row(name, [call(folder, "-n", *arguments, "--config", f"studies=[plan{size}]")])
    trusted = call(folder, "-n", "--trust-io-cache", "--config", f"studies=[plan{size}]")
    print_row("`--trust-io-cache`, after another plan", [trusted])


def report_runs(folder: Path, size: int) -> None:
    """What Snakemake takes beside the jobs."""
    for script in (folder / "workflow_scripts").glob("[a-z]*.py"):
        script.write_text(STAND_IN)
    print(f"\n## A run of {size} cells whose jobs do nothing\n\nTwo jobs at a time; then the plan of what is done.\n")
    print("| run with | jobs | seconds | ms a job | the plan after it |\n|---|---|---|---|---|")
    for name, arguments in RAN.items():
        for made in ("results", ".snakemake"):
            shutil.rmtree(folder / made, ignore_errors=True)
        kept = arguments if "--persistence-backend" in arguments else []
        study = ("--cores", "2", "--config", f"studies=[plan{size}]")
        spent = call(folder, *arguments, *study)
        after = call(folder, "-n", *kept, *study)
        assert "Nothing to be done" in after.said, after.said[-2000:]
        jobs = count_jobs(spent.said)
        print(
            f"| {name} | {jobs} | {spent.seconds:.0f} | {1000 * spent.seconds / jobs:.0f} | {after.seconds:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
