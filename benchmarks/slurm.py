"""A study through the profile on a real Slurm of one node: all that is said, every job, and whether its results are
those of this machine alone.

    PYTHONPATH=tests:tests/cluster python -m benchmarks.slurm > benchmarks/slurm.md

It takes root, and what tests/cluster takes.
"""

import datetime
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

from checkout import copy_of_checkout, digests, snakemake
from node import PROFILE, run, slurm_node

from benchmarks.first_hour import print_block, read_commit

JOBS = "%i|%k|%T|%C|%m|%l|%b|%a|%M"
"""Slurm's number, Snakemake's name of it, state, CPUs, memory, minutes at most, GPUs, account, and how long it ran."""


def main() -> None:
    """Print the report as Markdown."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        for name in ("local", "cluster", "slurm"):
            (root / name).mkdir()
        local, cluster = copy_of_checkout(root / "local"), copy_of_checkout(root / "cluster")
        snakemake(local, "--config", "keep_models=false")
        with slurm_node(root / "slurm"):
            said = snakemake(cluster, *PROFILE, "--config", "studies=[tiny]").replace(str(cluster), ".")
            jobs = run("squeue", "-h", "-t", "all", "-S", "i", "-o", JOBS).splitlines()
        ours, theirs = digests(local), digests(cluster)
    commit = read_commit()
    print(f"# The profile on a real Slurm\n\n`python -m benchmarks.slurm`, {commit}, {datetime.date.today()}: ", end="")
    print(f"{run('slurmd', '-V').strip()}, one node of {os.cpu_count()} cores with two GPUs that are none; ", end="")
    print(f"Snakemake {version('snakemake')}, plugin {version('snakemake-executor-plugin-slurm')}.\n")
    different = [path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)]
    print(f"Of {len(ours)} files that a run without Slurm makes, {len(different)} have other bytes.")
    print_block("console", said.strip())
    columns = ["job", "what", "state", "CPUs", "memory", "time at most", "GPUs", "account", "ran"]
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    print("\n".join(f"| {' | '.join(job.split('|'))} |" for job in jobs))


if __name__ == "__main__":
    main()
