"""A new user's first hour: what is typed in a fresh clone of this checkout's HEAD, and what is seen there.

    python -m benchmarks.first_hour > benchmarks/first_hour.md
    BACKSTOP_VENV=.venv python -m benchmarks.first_hour short

`short` is for trying this script: one seed and two defenses of the default study. BACKSTOP_VENV names an environment
that has everything, in whose stead none is made. Each station checks what it claims: the walk ends where it breaks.
"""

import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parents[1]
LINES, WIDTH = 24, 240
"""What is printed of an output and of a line: the last of a screen."""
ROUTINE = re.compile(
    r"Select jobs|Execute \d|\[\w{3} |Finished jobid|\d+ of \d+ steps|Using |Config file |Assuming |Building DAG"
    r"|Provided |Rules claiming|Complete log|Elapsed|.*://|.*WARNING|\[notice"
)
"""How lines begin that Snakemake prints for every job or every run, and what pip says of its index and of itself."""
BEGUN = 1.5
"""Seconds after which a job that was started is at its work: of one that Python still starts a traceback is seen."""
IMAGES = '''"""Digits as 16x16 PNG images, in the folder that the Hugging Face hub has of a data set."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits


def encode(pixels):
    file = io.BytesIO()
    Image.fromarray((pixels * 255 / 16).astype("uint8")).resize((16, 16), Image.Resampling.BICUBIC).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


digits = load_digits()
names = "zero one two three four five six seven eight nine".split()
features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
about = {"huggingface": json.dumps({"info": {"features": features}})}
Path("data/mine").mkdir(parents=True)
for shard, start, stop in ("train-00000-of-00002", 0, 700), ("train-00001-of-00002", 700, 1400), ("test", 1400, 1797):
    images = [encode(image) for image in digits.images[start:stop]]
    table = pa.table({"image": images, "label": digits.target[start:stop]})
    pq.write_table(table.replace_schema_metadata(about), f"data/mine/{shard}.parquet")
'''
SETTINGS = """\
  mine:
    models:
      preact_small: {epochs: 8, lr: 0.02, batch_size: 64, schedule: one_cycle, crop: 0, flip: false}
    defenses:
      ft: {holdout_size: 0.2, epochs: 10, batch_size: 64, lr: 0.1}
"""
STUDY = """\
grid: {dataset: mine, model: preact_small, attack: badnets, ratio: 0.1, seed: 0, defense: [none, ft]}
table: {rows: attack, columns: defense, values: [acc, asr]}
"""
SHUFFLENET = "      shufflenet: {epochs: 20, lr: 0.05, batch_size: 64, schedule: one_cycle, crop: 0, flip: false}\n"
HASTY = '''"""Silencing one channel of the first convolution."""

from dataclasses import dataclass

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import HoldoutDefense
from workflow_scripts.networks.model import Model


@dataclass(frozen=True)
class Hasty(HoldoutDefense):
    """Zeroes the first channel, whatever it does."""

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        layers = dict(victim.network.named_modules())
        layers["stem"].weight.data[0] = 0
        return victim
'''
MISTAKES = {
    "A misspelled defense": (STUDY.replace("ft]", "fft]"), "'fft'"),
    "A text where a number belongs": (STUDY.replace("ft]", "{ft: {lr: fast}}]"), "'fast'"),
    "A title that an editor saved in Latin-1": (f"title: Frühe Versuche\n{STUDY}", "studies/wrong.yaml"),
    "A data set that is not where `config.yaml` has it": (STUDY.replace("mine", "other"), "data/other"),
    "A key twice": (STUDY.replace("seed: 0", "seed: 0, seed: 1"), "seed"),
}
"""A study for each, and what the line that it gets must name."""


@dataclass(frozen=True)
class Walk:
    """A clone, the environment of its commands, and where the last one's output is."""

    folder: Path
    venv: Path
    said: Path
    short: bool

    def find_shown(self, page: str, kind: str) -> list[str]:
        """The code blocks of a kind on a page of the clone."""
        return re.findall(rf"```{kind}\n(.*?)```", (self.folder / page).read_text(encoding="utf-8"), re.S)

    def write(self, path: str, text: str, encoding: str = "utf-8") -> None:
        """A file of the user's, printed."""
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(text, encoding=encoding)
        print(f"\n`{path}`:")
        print_block({".py": "python", ".yaml": "yaml"}[Path(path).suffix], text)

    def insert(self, path: str, above: str, text: str) -> None:
        """Lines of the user's below the first line that begins so, printed."""
        before = (self.folder / path).read_text(encoding="utf-8")
        after = re.sub(rf"^{above}.*\n", lambda match: match[0] + text, before, count=1, flags=re.M)
        assert after != before, f"no line {above!r} in {path}"
        (self.folder / path).write_text(after, encoding="utf-8")
        print(f"\n`{path}`, below `{above.strip()}`:")
        print_block("yaml", text)

    def copy(self, path: str) -> None:
        """A file that CONTRIBUTING.md shows."""
        head = f"# {path}\n"
        text = next(text for text in self.find_shown("CONTRIBUTING.md", "python") if text.startswith(head))
        (self.folder / path).write_text(text.removeprefix(head), encoding="utf-8")
        print(f"\n`{path}` as [CONTRIBUTING.md](../CONTRIBUTING.md) has it.")

    def run(self, command: str, code: int = 0, part: str = "", at: str = "", by: signal.Signals | None = None) -> str:
        """What a command says that gets the signal `by`, if any, once it has said `at`. Its exit code is checked; its
        last lines are printed, or those of the part that matches."""
        started, shell = time.perf_counter(), ["bash", "-c", f"exec {command}"]
        with self.said.open("w", encoding="utf-8") as said:  # a group of processes with its jobs, as a terminal's
            process = subprocess.Popen(shell, cwd=self.folder, stdout=said, stderr=said, start_new_session=True)
        if by:
            self._stop(process, at, by)
        got = process.wait()
        return self._tell(command, got if got >= 0 else 128 - got, code, time.perf_counter() - started, part)

    def _stop(self, process: subprocess.Popen[bytes], at: str, by: signal.Signals) -> None:
        """Ctrl-C reaches the jobs, too; SIGKILL the process alone."""
        while at not in self.said.read_text(encoding="utf-8", errors="replace"):
            assert process.poll() is None, self.said.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.05)
        time.sleep(BEGUN)
        (os.kill if by == signal.SIGKILL else os.killpg)(process.pid, by)

    def _tell(self, command: str, got: int, code: int, seconds: float, part: str) -> str:
        """What was said, with short paths; a screen of it is printed."""
        text = self.said.read_text(encoding="utf-8").replace(str(self.folder), ".").replace(str(self.venv), "venv")
        assert got == code, f"{command}: exit code {got}, expected {code}\n{text[-3000:]}"
        found = re.search(part or r"\A.*", text, re.M | re.S)
        assert found, f"{command}: nothing like {part!r}\n{text[-3000:]}"
        meant = "\n".join(line for line in found[0].splitlines() if not ROUTINE.match(line)).strip().splitlines()
        shown = [line if len(line) <= WIDTH else f"{line[:WIDTH]}…" for line in meant[-LINES:]]
        print_block("console", "\n".join([f"$ {command}", *shown]))
        print(f"\nExit code {got} after {seconds:.0f} s; {len(shown)} of {len(text.splitlines())} lines.", flush=True)
        return text


def main(*arguments: str) -> None:
    """Print the report as Markdown."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs behind a `&` ignores it, and so would its jobs
    started, kept = time.perf_counter(), os.environ.get("BACKSTOP_VENV")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        root = Path(temporary).resolve()
        venv = Path(kept).resolve() if kept else root / "venv"
        walk = Walk(root / "backstop", venv, root / "said", "short" in arguments)
        os.environ["PATH"] = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
        os.environ.pop("PYTHONPATH", None)
        commit = clone_head(walk.folder)
        print(f"# A new user's first hour\n\n`{' '.join(['python -m benchmarks.first_hour', *arguments])}`, ", end="")
        print(f"a clone of {commit}, {os.cpu_count()} cores, Python {platform.python_version()}.")
        print("Of each output a screen is shown, without the lines that Snakemake prints for every job and every run.")
        if not kept:
            install(walk)
        for station in (quickstart, own_images, own_defense, own_model, failed_cell, wrong_inputs, resume):
            station(walk)
    print(f"\nAll of it: {(time.perf_counter() - started) / 60:.0f} min.")


def clone_head(folder: Path) -> str:
    """Clone this checkout's HEAD into a folder; what it is called."""
    subprocess.run(["git", "clone", "-q", str(HERE), str(folder)], check=True)
    return read_commit(folder)


def read_commit(checkout: Path = HERE) -> str:
    """The short name of a checkout's HEAD."""
    return subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=checkout, text=True).strip()


def print_block(kind: str, text: str) -> None:
    print(f"\n```{kind}\n{text.rstrip()}\n```", flush=True)


def count_jobs(said: str, rule: str) -> int:
    """How many jobs of a rule a run says that it has."""
    return next((int(count) for count in re.findall(rf"^{rule} +(\d+)$", said, re.M)), 0)


def install(walk: Walk) -> None:
    """The README's first block, up to the run."""
    print("\n## Installing")
    subprocess.run([sys.executable, "-m", "venv", str(walk.venv)], check=True)
    walk.run(walk.find_shown("README.md", "sh")[0].split(" && ")[0], part=r"^Successfully installed .*?$")


def quickstart(walk: Walk) -> None:
    """What there is, the plan, the default study, its table."""
    print("\n## The default study")
    if walk.short:
        path = walk.folder / "studies/quickstart.yaml"
        study = yaml.safe_load(path.read_text(encoding="utf-8"))
        study["grid"] = [grid | {"seed": 0, "defense": ["none", "ft"]} for grid in study["grid"]]
        path.write_text(yaml.safe_dump(study), encoding="utf-8")
        print("\nShortened for a trial of this script: one seed, the defenses `none` and `ft`.")
    walk.run("python -m workflow_scripts | head -20")
    walk.run("snakemake -n")
    walk.run(walk.find_shown("README.md", "sh")[0].split(" && ")[1].strip())
    walk.run("head -20 results/tables/quickstart.md")


def own_images(walk: Walk) -> None:
    """A data set in the hub's layout, a study of it."""
    print("\n## Images of one's own")
    walk.write("data/make.py", IMAGES)
    walk.run("python data/make.py")
    walk.insert("config.yaml", "datasets:", "  mine: {loader: parquet, file: data/mine}\n")
    walk.insert("config.yaml", "settings:", SETTINGS)
    walk.write("studies/mine.yaml", STUDY)
    walk.run("snakemake --cores all --config 'studies=[mine]'")
    assert "The dataset is mine" in walk.run("cat results/tables/mine.md")


def own_defense(walk: Walk) -> None:
    """A defense of CONTRIBUTING.md in the same study: its cells run, and no others."""
    print("\n## A defense of one's own")
    walk.copy("workflow_scripts/defenses/anchored.py")
    walk.write("studies/mine.yaml", STUDY.replace("ft]", "ft, anchored]"))
    said = walk.run("snakemake --cores all --config 'studies=[mine]'")
    assert [count_jobs(said, rule) for rule in ("train", "defend", "evaluate")] == [0, 1, 1]
    assert "anchored" in walk.run("head -8 results/tables/mine.md")


def own_model(walk: Walk) -> None:
    """A network of torchvision's, which takes images of 16x16 pixels as they are."""
    print("\n## A network of one's own")
    walk.copy("workflow_scripts/models/shufflenet.py")
    walk.insert("config.yaml", "    models:", SHUFFLENET)
    walk.write("studies/network.yaml", STUDY.replace("preact_small", "shufflenet"))
    walk.run("snakemake --cores all --config 'studies=[network]'")
    assert "the model shufflenet" in walk.run("cat results/tables/network.md")


def failed_cell(walk: Walk) -> None:
    """A defense with a bug beside one without: what fails is named, what there is can be had, what is mended runs."""
    print("\n## A defense that fails")
    path, command = "workflow_scripts/defenses/hasty.py", "snakemake --cores all --config 'studies=[hasty]'"
    walk.write(path, HASTY)
    walk.write("studies/hasty.yaml", STUDY.replace("ft]", "ft, hasty]"))
    said = walk.run(command, code=1)
    ending = said.partition("Exiting because")[2]
    assert all(text in ending for text in ("hasty.log", "KeyError: 'stem'", "partial=true"))
    walk.run(f"{command} partial=true")
    assert "The table is partial" in walk.run("cat results/tables/hasty.md")
    walk.run(f"sed -i.old s/stem/conv1/ {path}")
    assert count_jobs(walk.run(command), "defend") == 1
    assert "hasty  " in walk.run("head -8 results/tables/hasty.md")


def wrong_inputs(walk: Walk) -> None:
    """Five mistakes, and the line that each gets."""
    print("\n## Mistakes")
    walk.insert("config.yaml", "datasets:", "  other: {loader: parquet, file: data/other}\n")
    for what, (text, expected) in MISTAKES.items():
        print(f"\n### {what}")
        walk.write("studies/wrong.yaml", text, "latin-1")
        said = walk.run("snakemake -n --config 'studies=[wrong]'", code=1, part=r"^backstop: .*?$")
        assert re.search(rf"^backstop: .*{expected}", said, re.M) and "Traceback" not in said, said


def resume(walk: Walk) -> None:
    """A run that is interrupted, goes on, is killed, and goes on to its end."""
    print("\n## Stopped, and taken up again")
    command, trained = "snakemake --cores all --config 'studies=[later]'", "(Rule: train)"
    walk.write("studies/later.yaml", STUDY.replace("badnets", "[badnets, blended]").replace("seed: 0", "seed: 1"))
    print("\nCtrl-C when a first network is trained:")
    first = walk.run(command, at=trained, by=signal.SIGINT, code=1)
    print("\nThe same again, and `kill -9` of Snakemake when a second is:")
    second = walk.run(command, at=trained, by=signal.SIGKILL, code=137)
    print("\nThe same again:")
    assert "--unlock" in walk.run(command, code=1)
    walk.run("snakemake --unlock")
    third = walk.run(command)
    left = [count_jobs(said, "train") for said in (first, second, third)]
    assert left[0] > left[1] > left[2], f"what was trained is trained again: {left}"
    assert "Nothing to be done" in walk.run(command)


if __name__ == "__main__":
    main(*sys.argv[1:])
