"""A copy of the checkout with a study of a few seconds, and Snakemake run in it."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.auxiliaries._folders import FILES
from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.config import Config
from workflow_scripts.datasets._download import Published

HERE = Path(__file__).resolve().parents[1]
FOLDERS = ("cached", "pulled", "profiles", "rules", "slurm", "studies", "workflow_scripts")
PARTS = ("Snakefile", "config.yaml", "pyproject.toml", *FOLDERS)
VICTIM = "results/artifacts/digits/badnets/ratio~0.1/seed~0/preact_small"
REPORT = {"collect": 1, "tabulate": 1, "plot": 3, "all": 1}
"""The jobs of TINY that follow any change of a cell."""
TINY: dict[str, Any] = {
    "grid": {
        "dataset": "digits",
        "model": "preact_small",
        "attack": ["none", "badnets", "wanet"],
        "ratio": 0.1,
        "seed": 0,
        "defense": ["none", "clp", "abl"],
    },
    "table": {"rows": "attack", "columns": "defense", "values": ["acc", "asr", "ra", "der"]},
    "analysis": "triggers",  # of every victim; the figure needs those of the first seed
}


def shortened() -> dict[str, Any]:
    """The project's configuration with a network and budgets of a second."""
    config = yaml.safe_load((HERE / "config.yaml").read_text())
    settings = config["settings"]["digits"]
    settings["models"]["preact_small"] |= {"width": 4, "epochs": 2, "lr": 0.05}
    for kind in ("defenses", "auxiliaries"):
        for name in catalog.list_methods(kind):
            for field in catalog.describe(kind, name).fields:
                if field in ("epochs", "steps") or field.endswith("_epochs"):
                    settings[kind][name] = {**settings[kind].get(name, {}), field: 1}
    return {**config, "studies": ["tiny"]}


def copy_of_checkout(to: Path) -> Path:
    for part in PARTS:
        source = HERE / part
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, to / part)
    (to / "config.yaml").write_text(yaml.safe_dump(shortened()))
    (to / "studies" / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return to


def pretend(folder: Path, config: Config) -> None:
    """Empty files where a plan looks for the images of published data sets and for the weights of others."""
    for dataset in config.datasets:
        loader = catalog.make("datasets", *config.loader(dataset))
        for part in loader.parts() if isinstance(loader, Published) else ():
            (folder / loader.folder / part).mkdir(parents=True, exist_ok=True)
    for name in catalog.list_methods("auxiliaries"):
        if catalog.describe("auxiliaries", name).traits.get("hub"):
            fields = spellings.resolve("auxiliaries", name)
            (folder / fields["folder"]).mkdir(parents=True)
            for file in FILES[fields["library"]]:
                (folder / fields["folder"] / file.replace("*", "a")).touch()


def start(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    if environment is None:
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH",)}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
        preexec_fn=_hear_interrupts,
    )


def _hear_interrupts() -> None:
    """As in a terminal, even where the tests run in the background, which ignores them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def snakemake(folder: Path, *arguments: str, fails: bool = False, environment: Mapping[str, str] | None = None) -> str:
    """What Snakemake says; its success is checked."""
    process = start(folder, *arguments, environment=environment)
    output, _ = process.communicate(timeout=600)
    assert (process.returncode != 0) == fails, output[-3000:]
    return output


def call(folder: Path, *command: str) -> str:
    """What git or DVC says, to whom nothing outside the folder matters; its success is checked."""
    who = {f"GIT_{part}_{key}": "a" for part in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    kept = {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / ".snakemake/dvc")}
    environment = {**os.environ, **who, **kept}
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=environment).stdout


def list_processes(pattern: str) -> list[int]:
    """Those whose command line has this in it."""
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
    return [int(number) for number, line in (entry.split(maxsplit=1) for entry in listed) if re.search(pattern, line)]


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """How many jobs of each rule a dry run would do."""
    output = snakemake(folder, "-n", *arguments)
    stats = re.findall(r"^([a-z_]+) +(\d+)$", output, re.M)
    return {rule: int(count) for rule, count in stats if rule != "total"}


def digests(folder: Path) -> dict[str, str]:
    """Of every result that must not depend on when or where it was made."""
    names = [
        p
        for p in sorted((folder / "results").rglob("*"))
        if p.is_file() and p.name != "costs.json" and p.parts[len(folder.parts) + 1] not in ("costs", "logs")
    ]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in names}


def edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    after = change(before)
    assert after != before
    path.write_text(after)
