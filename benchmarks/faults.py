"""Faults in the middle of a run: how the user learns of each, what is lost, what is done again, and what the same
command makes of it.

    PYTHONPATH=tests:tests/cluster python -m benchmarks.faults > benchmarks/faults.md
    PYTHONPATH=tests:tests/cluster python -m benchmarks.faults full_disk node_down

Names choose some of the faults. A study of seconds is run undisturbed; then, for each fault, what an attack has become
is taken away, and while it is made again the fault befalls it: on this machine, or through the profile on a Slurm of
one node. It takes root, and what tests/cluster takes. Each fault checks what it claims.
"""

import datetime
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from checkout import VICTIM, copy_of_checkout, digests, edit, list_processes, start
from node import PROFILE, run, slurm_node, wait_for

from benchmarks.first_hour import ROUTINE, WIDTH, print_block, read_commit

LINES = 12
"""What is printed of what a run says: its last."""
STUDY = """\
grid: {dataset: digits, model: preact_small, attack: badnets, ratio: 0.1, seed: 0, defense: [none, clp, ft]}
table: {rows: attack, columns: defense, values: [acc, asr, ra, der]}
figure: []
"""
LOCAL = ("--config", "keep_models=false")
SLURM = (*PROFILE, "--config", "studies=[tiny]")
NOTE = """

def _note(what, log):
    with ROOT.parent.with_suffix(".journal").open("a") as journal:
        journal.write(f"{what} {log}\\n")
    fault = ROOT.parent.with_suffix(".fault")
    if what == "began" and fault.exists():
        exec(fault.read_text(), {"log": log, "fault": fault})
"""
"""What every job does as it begins and when it is done: a line in a journal beside the copy; and what a fault has
ready for it."""
POISON = VICTIM.replace("artifacts", "logs/poison").removesuffix("/preact_small") + ".log"
TRAIN = VICTIM.replace("artifacts", "logs/train") + ".log"
CLP = VICTIM.replace("artifacts", "logs/defend") + "/clp.log"


@dataclass(frozen=True)
class Trial:
    """A copy of the checkout, the command that is typed in it again and again, and what it said each time."""

    folder: Path
    command: tuple[str, ...]
    said: list[tuple[str, str]] = field(default_factory=list)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def prepare(self) -> None:
        """A copy with the study, whose jobs keep a journal."""
        self.folder.mkdir()
        copy_of_checkout(self.folder)
        (self.folder / "studies/tiny.yaml").write_text(STUDY)
        step = self.folder / "workflow_scripts/jobs/step.py"
        edit(step, lambda text: text.replace("yield passes\n", '_note("began", log)\n            yield passes\n'))
        edit(step, lambda text: re.sub(r"(    LOG.info\(.done in .*\n)", r'    _note("done", log)\n\1', text) + NOTE)

    def befall(self, log: str, what: str) -> None:
        """Let this happen to a job as it begins."""
        self.fault.write_text(f"import os, time\nif log == {log!r}:\n    {what}\n")

    @property
    def fault(self) -> Path:
        return self.folder.with_suffix(".fault")

    def count(self, what: str) -> Counter[str]:
        """How often each job began or was done."""
        journal = self.folder.with_suffix(".journal")
        lines = journal.read_text().splitlines() if journal.exists() else []
        return Counter(log for word, log in map(str.split, lines) if word == what)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        self.started.append(start(self.folder, *arguments, *self.command))
        return self.started[-1]

    def begin_until(self, log: str) -> subprocess.Popen[str]:
        """The command, until this job has begun."""
        process = self.begin()
        wait_for(lambda: log in self.count("began"), 180)
        return process

    def stop(self) -> None:
        """End what runs still: after a mistake, or on a node that Slurm took for down."""
        for process in self.started:
            process.kill()
        for number in list_processes(f"{self.folder}/"):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def run(self, *arguments: str, fails: bool = False) -> None:
        self.end(self.begin(*arguments), fails)

    def end(self, process: subprocess.Popen[str], fails: bool = False) -> None:
        """Keep what it said, without the lines that Snakemake prints of every job, if it ended as it should."""
        output, _ = process.communicate(timeout=900)
        assert (process.returncode != 0) == fails, output[-3000:]
        lines = output.replace(str(self.folder), ".").replace(sys.prefix, "venv").splitlines()
        command = " ".join(["snakemake", *list(map(str, process.args))[3:]])  # type: ignore[arg-type]
        self.said.append((command, "\n".join(line for line in lines if not ROUTINE.match(line)).strip()))


def full_disk(trial: Trial) -> None:
    """The disk is full as a victim is trained; then there is room."""
    process = trial.begin_until(TRAIN)
    used = int(run("du", "-sk", str(trial.folder)).split()[0])
    run("mount", "-o", f"remount,size={used}k", str(trial.folder))
    trial.end(process, fails=True)
    run("mount", "-o", "remount,size=200m", str(trial.folder))


def killed_job(trial: Trial) -> None:
    """A job is killed, as the kernel does when memory runs out."""
    trial.befall(TRAIN, "os.kill(os.getpid(), 9)")
    trial.run(fails=True)


def second_run(trial: Trial) -> None:
    """A second run is started in the folder."""
    process = trial.begin_until(TRAIN)
    trial.run(fails=True)
    trial.end(process)


def out_of_memory(trial: Trial) -> None:
    """A job takes more memory than it asked for: 2 GB and itself."""
    trial.befall(POISON, "taken = b'x' * (2000 << 20); time.sleep(10)")
    trial.run()


def out_of_time(trial: Trial) -> None:
    """A job takes longer than its minute; it has two when it is tried again."""
    trial.befall(POISON, "fault.unlink(); time.sleep(95)")
    trial.run("--set-resources", "poison:runtime=attempt")


def scancel_running(trial: Trial) -> None:
    """`scancel` of a job that runs."""
    trial.befall(TRAIN, "fault.unlink(); time.sleep(100)")
    process = trial.begin_until(TRAIN)
    run("scancel", find_job("train", "RUNNING"))
    trial.end(process)


def scancel_waiting(trial: Trial) -> None:
    """`scancel` of a job that waits."""
    process = trial.begin_until(POISON)
    run("scontrol", "update", "partitionname=main", "state=down")
    wait_for(lambda: bool(find_job("train", "PENDING")), 60)
    run("scancel", find_job("train", "PENDING"))
    run("scontrol", "update", "partitionname=main", "state=up")
    trial.end(process)


def node_down(trial: Trial) -> None:
    """The node of a job is down, and comes back."""
    trial.befall(TRAIN, "fault.unlink(); time.sleep(100)")
    process = trial.begin_until(TRAIN)
    run("scontrol", "update", f"nodename={run('sinfo', '-h', '-o', '%n').strip()}", "state=down", "reason=test")
    wait_for(lambda: bool(find_job("train", "PENDING")))
    run("scontrol", "update", f"jobid={find_job('train', 'PENDING')}", "starttime=now+15seconds")  # not 2 min
    trial.end(process)


def killed_main(trial: Trial) -> None:
    """Snakemake is killed as its job runs, which runs on."""
    trial.befall(TRAIN, "time.sleep(10)")
    process = trial.begin_until(TRAIN)
    os.kill(process.pid, signal.SIGKILL)
    trial.end(process, fails=True)
    trial.run(fails=True)
    trial.run("--unlock")


def failed_cell(trial: Trial) -> None:
    """One of the four cells of a job fails, and again in the next run; then it is mended."""
    trial.befall(CLP, "raise RuntimeError('a bug')")
    trial.run(fails=True)
    trial.run(fails=True)


Fault = Callable[[Trial], None]
HERE: dict[Fault, str] = {
    full_disk: "backstop: .*No space left",
    killed_job: "it was killed",
    second_run: "Directory cannot be locked",
}
"""The faults on this machine, and the line that the user must read of each."""
THERE: dict[Fault, str] = {
    out_of_memory: "backstop: poison failed.*memory limit",
    out_of_time: "backstop: poison failed.*TIMEOUT",
    scancel_running: "backstop: train failed.*CANCELLED",
    scancel_waiting: "backstop: train failed.*CANCELLED",
    node_down: "",
    killed_main: "Directory cannot be locked",
    failed_cell: "failed: RuntimeError: a bug",
}
"""Those on Slurm; nothing of a node's, whose job it runs again itself."""


def find_job(rule: str, state: str) -> str:
    """Slurm's number of a rule's job of the attack that is in this state."""
    jobs = [job.split() for job in run("squeue", "-h", "-t", state, "-o", "%i %k").splitlines()]
    return next((number for number, about in jobs if f"rule_{rule}_" in about and "badnets" in about), "")


@dataclass(frozen=True)
class Outcome:
    """What a fault did: the line that the user read, how many files were torn after it and lost in the end, what began
    more than once, and was done more than once, and the jobs of Slurm."""

    fault: Fault
    trial: Trial
    line: str
    torn: int
    lost: int
    began: Counter[str]
    done: Counter[str]
    jobs: list[str]

    @property
    def row(self) -> str:
        line = f"`{self.line[:WIDTH]}`" if self.line else "nothing"
        link = f"[{self.fault.__name__}](#{self.fault.__name__})"
        counts = (str(self.torn), str(self.lost), describe(self.began), describe(self.done))
        return f"| {' | '.join([link, str(self.fault.__doc__), line, *counts])} | yes |"

    def show(self) -> None:
        """What was said, command by command."""
        print(f"\n## {self.fault.__name__}\n\n{self.fault.__doc__}")
        for command, said in self.trial.said:
            print_block("console", "\n".join([f"$ {command}", *(line[:WIDTH] for line in said.splitlines()[-LINES:])]))
        if self.jobs:
            print("\nSlurm's jobs that it tried more than once:")
            print_block("console", "\n".join(self.jobs))


def describe(jobs: Counter[str]) -> str:
    """How many of each rule."""
    rules = Counter[str]()
    for log, count in jobs.items():
        rules[log.split("/")[2]] += count
    return ", ".join(f"{count} {rule}" for rule, count in rules.items()) or "none"


def try_fault(fault: Fault, says: str, trial: Trial, expected: dict[str, str]) -> Outcome:
    """The fault, then the same command again, to the same bytes."""
    before = set(list_jobs(trial))
    fault(trial)
    trial.fault.unlink(missing_ok=True)
    left = digests(trial.folder)
    trial.run()
    now = digests(trial.folder)
    lines = [line.strip() for _, said in trial.said for line in said.splitlines()]
    seen = next((line for line in lines if re.search(says, line)), f"NO {says}") if says else ""
    began, done = (count - Counter(set(count)) for count in map(trial.count, ("began", "done")))
    torn = sum(left[path] != expected[path] for path in left.keys() & expected.keys())
    lost = sum(now.get(path) != digest for path, digest in expected.items())
    assert now == expected, now.keys() ^ expected.keys()
    assert not any("Traceback" in line for line in lines)
    jobs = [job for job in list_jobs(trial) if job not in before]
    names = Counter(job.split()[0] for job in jobs)
    return Outcome(fault, trial, seen, torn, lost, began, done, [job for job in jobs if names[job.split()[0]] > 1])


def list_jobs(trial: Trial) -> list[str]:
    """What Slurm knows of its jobs."""
    form = "%k %T memory %m, limit %l, ran %M, number %i"
    return run("squeue", "-h", "-t", "all", "-S", "i", "-o", form).splitlines() if trial.command == SLURM else []


def prepare(stack: ExitStack, undisturbed: Trial, fault: Fault, command: tuple[str, ...]) -> Trial:
    """A copy of what has been run undisturbed, on a disk of its own, without what the attack has become."""
    trial = Trial(undisturbed.folder.with_name(fault.__name__), command)
    stack.callback(trial.stop)
    trial.folder.mkdir()
    if command == LOCAL:
        run("mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(trial.folder))
        stack.callback(run, "umount", "-l", str(trial.folder))
    shutil.copytree(undisturbed.folder, trial.folder, dirs_exist_ok=True)
    shutil.rmtree((trial.folder / VICTIM).parents[2])
    return trial


def try_faults(root: Path, names: tuple[str, ...]) -> Iterator[Outcome]:
    undisturbed = Trial(root / "undisturbed", LOCAL)
    undisturbed.prepare()
    undisturbed.run()
    expected = digests(undisturbed.folder)
    for faults, command in ((HERE, LOCAL), (THERE, SLURM)):
        with ExitStack() as stack:
            chosen = [fault for fault in faults if not names or fault.__name__ in names]
            if chosen and command == SLURM:
                (root / "slurm").mkdir()
                stack.enter_context(slurm_node(root / "slurm"))
            for fault in chosen:
                print(f"{time.strftime('%X')} {fault.__name__}", file=sys.stderr)
                yield try_fault(fault, faults[fault], prepare(stack, undisturbed, fault, command), expected)


def main(*names: str) -> None:
    """Print the report as Markdown."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        outcomes = list(try_faults(Path(temporary).resolve(), names))
    commit = read_commit()
    versions = f"Snakemake {version('snakemake')}, its Slurm plugin {version('snakemake-executor-plugin-slurm')}"
    slurm = run("slurmd", "-V").strip()
    print(f"# Faults\n\n`PYTHONPATH=tests:tests/cluster {' '.join(['python -m benchmarks.faults', *names])}`, ", end="")
    print(f"{commit}, {datetime.date.today()}: {os.cpu_count()} cores, Python {platform.python_version()}, {versions},")
    print(f"{slurm}. {(time.perf_counter() - started) / 60:.0f} minutes.\n")
    print(
        "| fault | | the user reads | files torn after it | lost in the end | begun again | of them done before |",
        end="",
    )
    print(" same bytes in the end |\n|---|---|---|---|---|---|---|---|")
    print("\n".join(outcome.row for outcome in outcomes))
    for outcome in outcomes:
        outcome.show()


if __name__ == "__main__":
    main(*sys.argv[1:])
