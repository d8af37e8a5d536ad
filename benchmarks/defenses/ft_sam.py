"""FT-SAM beside BackdoorBench's: the gradients of the first steps, and whole runs.

    python -m benchmarks.defenses.ft_sam BACKDOORBENCH FOLDER > benchmarks/defenses/ft_sam.md

BACKDOORBENCH: a checkout of SCLBD/BackdoorBench; FOLDER: where the victims are kept.
"""

import copy
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, set_scene
from benchmarks.defenses._steps import SEEDS, Batches, Watched, defend, nudge, settle, sgd_of
from workflow_scripts.defenses.ft_sam import FineTuningSAM
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model

SAM = "utils.defense_utils.sam"
PERIOD = 100
"""Epochs of the official schedule, which is stepped with every batch."""
INTRODUCTION = """\
# FT-SAM beside BackdoorBench's

`python -m benchmarks.defenses.ft_sam BACKDOORBENCH FOLDER`, one thread of a CPU, float32; the method `_train_sam` of
`defense/ft-sam.py` and the package `utils/defense_utils/sam`, run from their files. BadNets on digits, 256 clean
images, settings as config.yaml has them, the same batches.

Gradients that the first official steps are taken by, and ours at the same weights: their distance as a share of the
official one's length.

| seed | step 1 | step 2 | step 3 |
|---|---|---|---|"""
NUDGES = 8
RUNS = """
Whole runs: ACC, ASR and RA in percent. `official`: its schedule is our cosine, epoch by epoch; `as it is`: stepped with
every batch, it falls over 100 steps and rises again. `nudged`: the means of eight runs from weights that differ by a
millionth, and the range of their ACC.

| seed | | ACC | ASR | RA |
|---|---|---|---|---|"""

NOTES = """
- Where one gradient of the nine is farther away, ours changes by up to 2 % too, from weights that differ by 1e-7.
- Rounding grows: runs from weights that differ by a millionth are up to two points of ACC apart, here and there. Their
  means over eight are within a quarter of a point of each other."""


def main(checkout: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    official, rows = load(Path(checkout), "ft-sam", (SAM,)), []
    print(INTRODUCTION)
    for seed in SEEDS:
        scene, method = set_scene(Path(folder), seed), settle("ft_sam")
        there, watched = run_there(official, method, scene, by_batch=False)
        print(f"| {seed} | {watched.describe()} |", flush=True)
        named = {"victim": scene.victim, "here": defend(method, scene.fresh(), scene), "official": there}
        named |= {"as it is": run_there(official, method, scene, by_batch=True)[0]}
        rows += [f"| {seed} | {name} | {scene.describe(model)} |" for name, model in named.items()]
        starts = [nudge(scene.fresh(), number) for number in range(NUDGES)]
        sides = {
            "here": [defend(method, copy.deepcopy(start), scene) for start in starts],
            "official": [run_there(official, method, replace(scene, victim=start), False)[0] for start in starts],
        }
        rows += [f"| {seed} | {name}, nudged | {average(models, scene)} |" for name, models in sides.items()]
    print("\n".join([RUNS, *rows, NOTES]))


def average(models: Sequence[Model], scene: Scene) -> str:
    """The means of ACC, with its range, ASR and RA, as cells."""
    columns = np.array([scene.describe(model).split(" | ") for model in models], float).T
    acc, asr, ra = columns.mean(1)
    return f"{acc:.1f} [{columns[0].min():.1f}–{columns[0].max():.1f}] | {asr:.1f} | {ra:.1f}"


def run_there(official: ModuleType, method: FineTuningSAM, scene: Scene, by_batch: bool) -> tuple[Model, Watched]:
    """What the official loop makes of the victim."""
    model, batches = scene.fresh(), Batches(scene, scene.holdout, method.batch_size)
    watched = Watched(sgd_of(model, method.lr), model, batches, method.make_step)

    def fall(done: int) -> float:
        return (1 + math.cos(math.pi * (done // len(batches)) / method.epochs)) / 2

    rates = CosineAnnealingLR(watched.optimizer, PERIOD) if by_batch else LambdaLR(watched.optimizer, fall)
    radii = official.ProportionScheduler(
        pytorch_lr_scheduler=rates, max_lr=method.lr, min_lr=0.0, max_value=method.rho, min_value=method.rho
    )
    sam = official.SAM(
        model.network.parameters(), watched.optimizer, model.network, sam_alpha=0.0, rho_scheduler=radii, adaptive=True
    )
    args = SimpleNamespace(device="cpu", label_smoothing=method.label_smoothing, print_freq=1)
    for epoch in range(method.epochs):
        official.dsam._train_sam(None, args, batches, model.network, sam, rates, None, epoch)
    return model.eval(), watched


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
