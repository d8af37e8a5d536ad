"""What is said before a run and after one that failed: how much there is to do, and which cells did not get done."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from workflow_scripts.common import files
from workflow_scripts.common.cells import Study
from workflow_scripts.common.progress import format_duration

START_UP = 2.5
"""Seconds that every job takes beside what its `costs.json` says: the interpreter, imports, Snakemake."""
SHOWN = 12
"""Lines about cells or studies; the others are counted."""
DONE, FAILED = (re.compile(rf"\d\d:\d\d:\d\d {word}") for word in ("done in ", "failed: "))
NO_REASON = "which gives no reason: it was killed (for its memory, for its time, by hand), or the disk is full"


class Work(NamedTuple):
    """A job: where it says what it has cost, and where it logs; empty where it does not."""

    rule: str
    costs: str
    log: str


class Cells(NamedTuple):
    """How many cells a study has itself, how many others they are read against, and how many are not evaluated yet."""

    own: int
    others: int
    waiting: int

    def __str__(self) -> str:
        others = f" and {self.others} that they are read against" if self.others else ""
        return f"{_count(self.own, 'cell')}{others}, {self.waiting} to evaluate"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def describe_outlook(jobs: Sequence[Work], cells: Mapping[str, Cells], root: str, workers: int) -> Iterator[str]:
    """Lines: the cells of each study, by its name; and how long all will take, as far as that is known."""
    for name, own in list(cells.items())[:SHOWN]:
        yield f"{name}: {own}"
    if rest := list(cells.values())[SHOWN:]:
        yield f"and {len(rest)} other studies with {_count(sum(own.own for own in rest), 'cell')}"
    known = read_costs(root)
    seconds = [_expect(job.costs.removeprefix(f"{root}/"), known) if job.costs else 0.0 for job in jobs]
    told = [second for second in seconds if second is not None]
    total = format_duration((sum(told) + START_UP * len(jobs)) / workers)
    if unknown := len(seconds) - len(told):
        others = _count(unknown, "job")
        yield f"at least {total} on {workers} at a time; what {others} will take beyond starting up is not known yet"
    else:
        by = ", by what such jobs have cost here" if any(job.costs for job in jobs) else ""
        yield f"about {total} on {workers} at a time{by}"


def read_costs(root: str) -> dict[tuple[str, ...], float]:
    """The mean seconds that jobs of each kind have cost below a root."""
    found = defaultdict(list)
    for path in Path(root).rglob("costs.json"):
        if (seconds := _read_seconds(path)) is not None:
            for kind in _kinds(str(path.relative_to(root))):
                found[kind].append(seconds)
    return {kind: fmean(seconds) for kind, seconds in found.items()}


def _read_seconds(path: Path) -> float | None:
    """None of a file that is none: an estimate is no reason to stop."""
    try:
        return float(files.read_json(path)["seconds"])
    except (ValueError, KeyError, TypeError, OverflowError):  # UserError is a ValueError
        return None


def _kinds(costs: str) -> Iterator[tuple[str, ...]]:
    """Of jobs that cost alike, from near to far: the same methods with their hyper-parameters, the same methods.
    Attack, ratio and seed make no difference but to poisoning, to which the attack does."""
    dataset, *parts = Path(costs).parent.parts
    methods = parts[parts.index("auxiliaries") :][:2] if "auxiliaries" in parts else parts[3:] or parts[:1]
    yield (dataset, *methods)
    yield (dataset, "", *(method.partition("+")[0] for method in methods))


def _expect(costs: str, known: Mapping[tuple[str, ...], float]) -> float | None:
    return next((known[kind] for kind in _kinds(costs) if kind in known), None)


def describe_failures(jobs: Iterable[Work], since: float) -> Iterator[str]:
    """Lines: of each job that has begun since then and is not done the last that it said, and where it said it."""
    begun = [job for job in jobs if job.log and Path(job.log).exists() and Path(job.log).stat().st_mtime >= since]
    stopped = {job: read_last_line(job.log) for job in begun if is_unfinished(job.log)}
    for job, line in list(stopped.items())[:SHOWN]:
        reason = "" if FAILED.match(line) else f"\n    {NO_REASON}"
        yield f"{job.rule} did not get done; {job.log} ends with\n    {line}{reason}"
    if len(stopped) > SHOWN:
        yield f"and {len(stopped) - SHOWN} others"
    if stopped:
        yield "the same command tries them again; with partial=true behind --config it makes tables of what is there"


def describe_error(record: Mapping[str, Any]) -> Iterator[str]:
    """A line, of what Snakemake logs of a job of a cluster that failed: why, by Slurm's status and by its log."""
    if record.get("aux_logs"):  # several of its jobs in one, of which it keeps no reason
        rules = sorted({info["rule_name"] for info in record["job_error_info"]})  # which come in any order
        yield f"{', '.join(rules)} failed as one job; {_quote_slurm(record['aux_logs'][0])}"
    elif record.get("rule_msg"):
        reason = re.sub(r"\. ?(Detailed failure|For further).*", "", record["rule_msg"])
        yield f"{record['rule_name']} failed: {reason}; {_quote_slurm(record['log'][-1])}"


def _quote_slurm(log: str) -> str:
    """What Slurm wrote last of how a job ended, and where."""
    text = Path(log).read_text(encoding="utf-8", errors="replace") if Path(log).exists() else ""
    said = re.findall(r"^slurmstepd.*error: (.*)", text, re.M)
    return f"{log} says: {said[-1]}" if said else f"see {log}"


def is_unfinished(log: str) -> bool:
    """Whether a job has begun to write this log and is not done."""
    return Path(log).exists() and not DONE.match(read_last_line(log))


def read_last_line(log: str) -> str:
    """What a job has said last."""
    lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "nothing"


def describe_results(studies: Sequence[Study]) -> Iterator[str]:
    """Lines: where the results of each study are."""
    for study in studies[:SHOWN]:
        tables = [f"tables/{study.tables[0].stem(study.name)}.md"] if study.tables else []
        figures = [f"figures/{study.name}_*.png"] if study.figures else []
        analyses = [f"analyses/{analysis}/" for analysis in study.analyses]
        yield ", ".join(f"results/{part}" for part in (*tables, *figures, *analyses, f"metrics/{study.name}.parquet"))


def describe_left_out(left_out: Mapping[str, str]) -> Iterator[str]:
    """A line for each reason for which studies that a pattern matched were left out."""
    yield from (f"left out: {line}" for line in group_left_out(left_out))


def group_left_out(left_out: Mapping[str, str]) -> Iterator[str]:
    """A line for each reason: the study, or how many and which."""
    found = defaultdict[str, list[str]](list)
    for path, reason in left_out.items():
        found[reason.removeprefix(f"{path}: ")].append(path)
    for reason, paths in found.items():
        yield f"{paths[0]}: {reason}" if len(paths) == 1 else f"{reason} ({len(paths)} studies: {', '.join(paths)})"
