"""DVC's round trip: a study run, a number moved, pushed, pulled into another clone, and gone on with there.

    python -m benchmarks.dvc_round_trip > benchmarks/dvc_round_trip.md

In clones of this checkout's HEAD, with the environment of the Python that runs it. Each station checks what it claims.
A number behind it is how many small files the last station hands over, 20,000 if there is none.
"""

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.first_hour import Walk, clone_head, count_jobs

STUDY = """\
grid: {dataset: digits, model: preact_small, attack: badnets, ratio: 0.1, seed: 0, defense: [none, ft, fp, clp]}
table: {rows: attack, columns: defense, values: [acc, asr, ra, der]}
figure: [heatmap, tradeoff, triggers]
"""
SETTLE = "snakemake --profile pulled"


def main(count: str = "20000") -> None:
    """Print the report as Markdown."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        root, venv = Path(temporary).resolve(), Path(sys.prefix)
        first, second, third = (Walk(root / name, venv, root / "said", True) for name in ("first", "second", "third"))
        prepare_environment(venv)
        cloned = clone_head(first.folder)
        print(f"# DVC's round trip\n\n`{' '.join(['python -m benchmarks.dvc_round_trip', *sys.argv[1:]])}`, ", end="")
        print(f"a clone of {cloned}, {os.cpu_count()} cores, Python {platform.python_version()}.")
        print("Of each output a screen is shown, without the lines that Snakemake prints for every job and every run.")
        for station in (run, move, push):
            station(first)
        for station in (pull, edit, merge):
            station(second)
        hand_over(first, third, int(count))
    minutes, spent = (time.perf_counter() - started) / 60, sum(os.times()[2:4]) / 60
    print(f"\nAll of it: {minutes:.1f} min, in which its commands had a core for {spent:.1f}: ", end="")
    print("the machine had other work, too, where that is less.")


def prepare_environment(venv: Path) -> None:
    """The commands' own, and somebody for git to name."""
    who = {f"GIT_{part}_{key}": "backstop" for part in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    os.environ |= {**who, "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    os.environ.pop("PYTHONPATH", None)


def run(walk: Walk) -> None:
    """One victim, three defenses, kept by DVC with a remote beside the clone."""
    print("\n## Run")
    print("\nThe default study is cut down to one victim and three defenses; `dvc.yaml` names no other.")
    walk.write("studies/quickstart.yaml", STUDY)
    walk.write("pulled/studies.yaml", "studies: [quickstart]\n")
    walk.run("sed -i /systems/d dvc.yaml")
    walk.run("dvc remote add -d beside ../remote")
    walk.run("dvc repro")
    commit(walk, "One victim, three defenses")


def commit(walk: Walk, message: str) -> None:
    walk.run(f"git commit -qam '{message}'")


def move(walk: Walk) -> None:
    """A commit that moves the numbers of one defense, and what DVC says of it."""
    print("\n## A number moves")
    walk.run("sed -i 's/max_drop: 0.4/max_drop: 0.2/' config.yaml")
    said = walk.run("dvc repro")
    assert [count_jobs(said, rule) for rule in ("train", "defend", "evaluate")] == [0, 1, 1]
    commit(walk, "Fine-pruning may cost half as much")
    said = walk.run("dvc metrics diff HEAD~1")
    assert {line.split()[0] for line in said.splitlines()[1:]} == {"results/summary/quickstart.rows/fp.json"}, said
    walk.run("dvc plots diff HEAD~1")
    walk.run("ls dvc_plots/static")


def push(walk: Walk) -> None:
    """Everything that git's commits name."""
    print("\n## Pushed")
    walk.run("dvc push -A")


def pull(walk: Walk) -> None:
    """What another clone has to do before Snakemake takes what was pulled for its own."""
    print("\n## Pulled into another clone")
    clone(walk)
    walk.run("dvc pull")
    assert "Nothing to be done" not in walk.run("snakemake -n")
    walk.run(SETTLE)
    assert "Nothing to be done" in walk.run("snakemake -n")
    assert "up to date" in walk.run("dvc status")


def clone(walk: Walk) -> None:
    walk.folder.mkdir()
    walk.run("git clone -q ../first .")


def edit(walk: Walk) -> None:
    """An edit of one method there: its cell, and no other."""
    print("\n## An edit there")
    walk.run("sed -i 's/self.u,/1.0 * self.u,/' workflow_scripts/defenses/clp.py")
    said = walk.run("snakemake -n")
    assert [count_jobs(said, rule) for rule in ("train", "defend", "evaluate")] == [0, 1, 1]
    walk.run("git checkout -q workflow_scripts")


def merge(walk: Walk) -> None:
    """Two branches, each of which moved a number."""
    print("\n## A conflict in `dvc.lock`")
    walk.run("git checkout -qb other")
    walk.run("sed -i 's/epochs: 20, batch_size: 64, lr: 0.1}$/epochs: 20, batch_size: 64, lr: 0.05}/' config.yaml")
    walk.run("dvc repro -q")
    commit(walk, "Fine-tuning at half the rate")
    walk.run("git checkout -q -")
    walk.run("dvc checkout")
    walk.run(SETTLE)
    walk.run("sed -i 's/clp: {u: 3.5}/clp: {u: 2.5}/' config.yaml")
    said = walk.run("dvc repro -q")
    assert count_jobs(said, "defend") == 1
    commit(walk, "CLP at a lower bound")
    walk.run("git merge other", code=1)
    walk.run("git checkout --ours dvc.lock results/summary")
    said = walk.run("dvc repro")
    assert count_jobs(said, "defend") == 1
    commit(walk, "Both")
    assert "up to date" in walk.run("dvc status")


def hand_over(walk: Walk, other: Walk, count: int) -> None:
    """What DVC takes for a folder of small files."""
    print(f"\n## {count:,} files of a kilobyte, five to a folder\n\nMade up, in a folder that DVC keeps.")
    for i in range(count):
        path = walk.folder / f"many/{i // 5}/{i % 5}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{i:1000}", encoding="utf-8")
    walk.run("dvc add -q many")
    walk.run("git add many.dvc .gitignore")
    walk.run("dvc status many.dvc")
    walk.run("dvc push many.dvc")
    commit(walk, "Many files")
    walk.run("rm many/0/0.json")
    walk.run("dvc commit -fq many.dvc")
    walk.run("dvc push many.dvc")
    clone(other)
    other.run("dvc pull many.dvc")


if __name__ == "__main__":
    main(*sys.argv[1:])
