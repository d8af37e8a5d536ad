"""From folders of real files to a table: MNIST, GTSRB, Imagenette, and photographs of mixed sizes.

    python -m benchmarks.real_files RAW > benchmarks/real_files.md
    python -m benchmarks.real_files RAW mnist imagenette

RAW: the folder that holds the four sets as the report says. In a clone of this checkout's HEAD, of which it becomes the
folder `data`, each set is prepared in a process of its own, whose memory is measured, and then a study of it is run.
Names choose some of the sets. One core; settings: benchmarks/real_files.yaml.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from benchmarks.first_hour import HERE, clone_head

SETTINGS = "benchmarks/real_files.yaml"
MODELS = {"mnist": "preact_small", "signs": "preact_small", "photos_224": "resnet18", "flowers": "resnet18"}
"""The sets that have a study, and the network of each."""
WHOLE = ("imagenette",)
"""Sets of config.yaml that are prepared only: their studies take hours on one core."""
WRITER = 80
"""MB that writing a file may take beside the images, whatever their number: a few of its groups of 16 MB."""
IMPORTED = {"imagefolder": "PIL.Image", "gtsrb": "torchvision.datasets", "imagenette": "torchvision.datasets"}
"""What a loader imports once it reads: it counts as the interpreter's, not as the pixels'."""
STUDY = """\
grid: {{dataset: {name}, model: {model}, attack: [badnets, blended], ratio: 0.1, seed: 0, defense: [none, ft, clp]}}
table: {{rows: attack, columns: defense, values: [acc, asr]}}
"""
PREPARING = f"""\
## Preparing

MB of 2^20 bytes. Before: the most that the process had when its imports were done. The peak may be above that by twice
the pixels of all images, and by {WRITER} MB that writing a file takes, whatever its size. Seconds of a processor, in
brackets those of the clock.
"""
ORIGIN = """
- `mnist/`, from the repository rasbt/mnist-pngs, which is under the MIT license: MNIST (LeCun, Cortes, Burges), 60,000
  and 10,000 gray PNG of 28x28 pixels in `train/` and `test/`, a folder for each digit.
- `gtsrb/`, from hergerr/traffic-sign-recognition, which names no license: GTSRB (Stallkamp et al.), 39,209 and 12,630
  PPM, there already resized to 32x32 pixels. Its `GTSRB/Final_Test/GT-final_test.csv` was moved up to `gtsrb/`, where
  the benchmark has it.
- `imagenette2-320/`, from thunderInfy/imagenette, which names no license: Imagenette (Howard), 9,469 and 3,925
  photographs of ten classes, there already cut to JPEG of 224x224 pixels, some of them gray, in `train/` and `val/`.
- `flowers/`, from atiaisaac/flowers_classification, which names no license: 600 photographs of each of five flowers,
  JPEG of 316 different sizes with sides from 152 to 1,024 pixels, without a split.
"""


def prepare(name: str) -> dict[str, float]:
    """What the job `prepare_data` does, in this process: images, MB and seconds."""
    from workflow_scripts.common import catalog, config, image_files
    from workflow_scripts.common.run import Run

    given = [yaml.safe_load((HERE / path).read_text(encoding="utf-8")) for path in ("config.yaml", SETTINGS)]
    merged = {key: given[0][key] | given[1][key] for key in ("datasets", "settings")}
    loader, fields = config.read({**given[0], **given[1], **merged}).loader(name)
    import_module(IMPORTED[loader])
    dataset, before = catalog.make("datasets", loader, fields), peak_memory()
    started, used = time.perf_counter(), time.process_time()
    parts = dataset.prepare(Run(name, 0))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for number, part in enumerate(parts):
            image_files.write_images(Path(folder, f"{number}.parquet"), part, {})
    seconds = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used}
    counts = dict(zip(("train", "test", "reserved"), map(len, parts), strict=True))
    pixels = sum(part.images.nbytes for part in parts) / 2**20
    shape = dict(zip(("height", "width", "channels"), parts[0].format.shape, strict=True))
    return {**counts, **shape, "pixels": pixels, "before": before, "peak": peak_memory(), **seconds}


def peak_memory() -> float:
    """The most MB that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, *command: str) -> tuple[str, float, float]:
    """What a command prints in a folder, the seconds that it takes, and those of a processor, its children's among
    them. Its errors are shown where it fails."""
    before, started = children_seconds(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-3000:]
    return done.stdout, time.perf_counter() - started, children_seconds() - before


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(raw: str, *chosen: str) -> None:
    """Print the report as Markdown."""
    if raw == "prepare":
        print(json.dumps(prepare(*chosen)))
        return
    names = chosen or (*MODELS, *WHOLE)
    os.environ.update(OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        clone = Path(temporary).resolve() / "backstop"
        commit = clone_head(clone)
        (clone / "data").symlink_to(Path(raw).resolve())
        command = " ".join(["python -m benchmarks.real_files RAW", *chosen])
        print(f"# From real files to a table\n\n`{command}`, a clone of")
        print(f"{commit}, one core, Python {platform.python_version()}. RAW holds, none of it in this repository:")
        print(ORIGIN, flush=True)
        report_preparing(clone, names)
        report_studies(clone, [name for name in names if name in MODELS])


def report_preparing(clone: Path, names: Sequence[str]) -> None:
    """A row for each set."""
    print(PREPARING)
    print("| set | images to train, to test, reserved | of | MB of pixels | before | at the peak | above | seconds |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        said, *_ = measure(clone, sys.executable, "-m", "benchmarks.real_files", "prepare", name)
        print(f"| `{name}` | {describe(json.loads(said))} |", flush=True)


def describe(made: dict[str, Any]) -> str:
    """The cells of a row."""
    counts = ", ".join(f"{made[key]:,}" for key in ("train", "test", "reserved"))
    above = made["peak"] - made["before"]
    assert above <= 2 * made["pixels"] + WRITER, f"preparing took {above:.0f} MB for {made['pixels']:.0f} of pixels"
    shape = "x".join(str(made[key]) for key in ("height", "width", "channels"))
    memory = " | ".join(f"{size:.0f}" for size in (made["pixels"], made["before"], made["peak"], above))
    return f"{counts} | {shape} | {memory} | {made['cpu']:.0f} ({made['seconds']:.0f})"


def report_studies(clone: Path, names: Sequence[str]) -> None:
    """A table for each set."""
    settings = (clone / SETTINGS).read_text(encoding="utf-8")
    print(f"\n## Studies\n\n`{SETTINGS}`:\n\n```yaml\n{settings}```\n\n`studies/real_files/NAME.yaml`, of each set:\n")
    print(f"```yaml\n{STUDY.format(name='NAME', model='MODEL')}```", flush=True)
    (clone / "studies/real_files").mkdir()
    for name in names:
        study = f"real_files/{name}"
        (clone / f"studies/{study}.yaml").write_text(STUDY.format(name=name, model=MODELS[name]), encoding="utf-8")
        given = ("--cores", "1", "--configfile", SETTINGS, "--config", f"studies=[{study}]")
        _, seconds, used = measure(clone, "snakemake", *given)
        table = (clone / f"results/tables/{study}.md").read_text(encoding="utf-8")
        print(f"\n{table.replace('# ', '### ', 1).rstrip()}\n")
        print(f"From the files to this: {used:.0f} seconds of a processor, {seconds:.0f} of the clock.", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
