"""What a long study found and took, read from the clone in which it ran: the table that the README leads with; its runs
and what ended each, whether any finished job was done again, how long they took; its tables as they stand there; and
what has been done since.

    python -m benchmarks.cifar10_small CLONE > benchmarks/cifar10_small.md
"""

import datetime
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.first_hour import read_commit
from workflow_scripts.common import arrow, files, messages, spellings
from workflow_scripts.common.cells import cell_of
from workflow_scripts.reporting.aggregate import format_spelling
from workflow_scripts.reporting.estimates import Estimate, format_estimate

STUDY = "cifar10_jpeg/cifar10_small"
TABLES, METRICS = Path("results", "tables"), Path("results", "metrics")
ATTACKS = ("badnets", "blended")
"""Those of the README's table."""
COUNTED = ("train", "implant", "defend", "evaluate")
"""The rules whose jobs take minutes."""


@dataclass(frozen=True)
class LoggedRun:
    """A run of Snakemake by its own log: when it began and said its last, and the jobs that it saw finish, by rule."""

    begun: datetime.datetime
    last: datetime.datetime
    complete: bool
    finished: Counter[str]

    def row(self) -> str:
        """A line of the table of runs."""
        counts = [str(self.finished[rule]) for rule in COUNTED]
        ended = "it was through" if self.complete else "killed, interrupted or going on"
        return f"| {self.begun:%m-%d %H:%M} | {self.last:%m-%d %H:%M} | {' | '.join(counts)} | {ended} |"


def read_run(log: Path) -> LoggedRun:
    """What Snakemake's log of one run says."""
    text = log.read_text()
    begun = datetime.datetime.strptime(log.name.split(".")[0], "%Y-%m-%dT%H%M%S")
    finished = Counter(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)$", text, re.M))
    last = datetime.datetime.fromtimestamp(log.stat().st_mtime)
    return LoggedRun(begun, last, "(100%) done" in text, finished)


def read_seconds(log: Path) -> float | None:
    """What a job took by the last line of its log, None if it is not done."""
    last = messages.read_last_line(str(log))
    return float(last[found.end() :].split()[0]) if (found := messages.DONE.match(last)) else None


def print_runs(clone: Path) -> None:
    """The runs, and what they finished beside what there is."""
    runs = [run for log in sorted(clone.glob(".snakemake/log/*.log")) if (run := read_run(log)).finished]
    jobs = {rule: [read_seconds(log) for log in clone.glob(f"results/logs/{rule}/**/*.log")] for rule in COUNTED}
    done = {rule: [seconds for seconds in of_rule if seconds is not None] for rule, of_rule in jobs.items()}
    print(f"| begun | last said | {' | '.join(COUNTED)} | |\n|{'---|' * (len(COUNTED) + 3)}")
    print("\n".join(run.row() for run in runs))
    sums = [sum(run.finished[rule] for run in runs) for rule in COUNTED]
    print(f"| | finished in all runs | {' | '.join(map(str, sums))} | |")
    print(f"| | logs that end with `done` | {' | '.join(str(len(done[rule])) for rule in COUNTED)} | |")
    print(f"| | hours, by their clocks | {' | '.join(f'{sum(done[rule]) / 3600:.2f}' for rule in COUNTED)} | |\n")
    print("Where the first two sums are equal, no job that had finished was done again.")


def print_newer(clone: Path) -> None:
    """The cells that have been evaluated since the tables were made, each with its seed."""
    tables = [arrow.read_table(path)[0] for path in (clone / METRICS).glob(f"{STUDY}*.parquet")]
    known = {cell_of(row) for table in tables for row in table.to_pylist()}
    found = [row for path in sorted(clone.glob("results/artifacts/**/metrics.json")) for row in files.read_json(path)]
    if newer := [row for row in found if cell_of(row) not in known]:
        print("\n## Cells that are in no table yet\n\n| seed | attack | defense | ACC | ASR |\n|---|---|---|---|---|")
    for row in sorted(newer, key=lambda row: (row["seed"], row["attack"], row["defense"])):
        asr = "–" if row["asr"] is None else f"{100 * row['asr']:.1f}"
        defense = format_spelling(row["defense"])
        print(f"| {row['seed']} | `{row['attack']}` | `{defense}` | {100 * row['acc']:.1f} | {asr} |")


def read_device(clone: Path) -> tuple[str, str]:
    """The processor, and the versions that some victim was trained with."""
    costs = files.read_json(next(clone.glob("results/artifacts/**/costs.json")))
    versions = ", ".join(f"{name} {version}" for name, version in json.loads(costs["versions"]).items())
    return costs["device"], versions


def print_lead(clone: Path) -> None:
    """A row for each defense: ACC without an attack; under each attack ACC / ASR, the same with its units drawn at
    random, and what was published."""
    estimates, published = read_estimates(clone), read_theirs(clone)

    def show(attack: str, defense: str) -> str:
        acc, asr = (estimates.get((defense, attack, metric)) for metric in ("acc", "asr"))
        return f"{100 * acc.mean:.1f} / {format_estimate(asr)}" if acc and acc.mean is not None and asr else ""

    head = " | ".join(f"`{attack}` | at random | published" for attack in ATTACKS)
    print(f"| defense | no attack: ACC | {head} |\n|{'---|' * (2 + 3 * len(ATTACKS))}")
    at_random = {defense: spellings.at_random(defense) or "" for defense, _, _ in estimates}
    for defense in (defense for defense in at_random if defense not in at_random.values()):
        cells = [f"`{spellings.method_name(defense)}`", format_estimate(estimates[defense, "none", "acc"])]
        for attack in ATTACKS:
            cells += [show(attack, defense), show(attack, at_random[defense]), published.get((defense, attack), "–")]
        print(f"| {' | '.join(cells)} |")
    print()


def read_estimates(clone: Path) -> dict[tuple[str, str, str], Estimate]:
    """The study's table, by defense, attack and metric."""
    rows = arrow.read_table(clone / TABLES / f"{STUDY}.parquet")[0].to_pylist()
    return {(row["column"], row["row"], row["metric"]): Estimate(*map(row.get, Estimate._fields)) for row in rows}


def read_theirs(clone: Path) -> dict[tuple[str, str], str]:
    """What stands beside each defense and attack, as a cell; the references have none."""
    rows = arrow.read_table(clone / TABLES / f"{STUDY}_reported.parquet")[0].to_pylist()
    theirs = {
        (row["defense"], row["attack"], row["metric"]): row["theirs"] for row in rows if row["theirs"] is not None
    }
    pairs = {(defense, attack) for defense, attack, _ in theirs}
    return {pair: " / ".join(f"{100 * theirs[*pair, metric]:.1f}" for metric in ("acc", "asr")) for pair in pairs}


def main(clone: Path) -> None:
    """Print the report as Markdown."""
    device, versions = read_device(clone)
    print("# CIFAR-10 (JPEG) at width 16\n")
    print(f"`snakemake --cores 2 --configfile benchmarks/cifar10_small.yaml` at {read_commit(clone)},", end=" ")
    print(f"{datetime.date.today()},\non {device}, two jobs at a time at the lowest priority; {versions}.\n")
    print_lead(clone)
    print_runs(clone)
    for table in sorted((clone / TABLES).glob(f"{STUDY}*.md")):
        print(f"\n{re.sub(r'^#', '##', table.read_text().strip(), flags=re.M)}")
    print_newer(clone)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
