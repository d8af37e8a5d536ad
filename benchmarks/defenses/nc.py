"""Runs BackdoorBench's Neural Cleanse beside ours: one victim, the same images in the same order.

    python -m benchmarks.defenses.nc CHECKOUT FOLDER > benchmarks/defenses/nc.md

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victims.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, set_scene
from benchmarks.defenses._steps import nudge
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.nc import NeuralCleanse, anomaly_indices
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.inversion import Inversion, ReversedTrigger, Search
from workflow_scripts.training.loader import Batch, Resident, to_network

SEEDS = (0, 1, 2)
CLASSES, BATCH = 10, 64
METHOD = NeuralCleanse(batch_size=BATCH, success=0.98, epochs=20, lr=0.1)
"""With the official code's share of success, and digits' fine-tuning."""
HOW = Inversion(METHOD.inversion_epochs, METHOD.inversion_lr, BATCH, METHOD.cost, METHOD.success, METHOD.patience)


class Loader:
    """The batches of our search for a class, epoch by epoch in their order. Floats in [0, 1]: the network normalizes
    by itself."""

    def __init__(self, holdout: Images, label: int, run: Run):
        self.resident, self.order = Resident(holdout, run.device), run.torch_rng(f"class {label}/order")

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows in self.resident.positions(BATCH, self.order):
            yield to_network(self.resident.images[rows]) / 255, self.resident.labels[rows]


class Official:
    """`defense/nc.py`'s inversion and its outliers, on a network of ours; its triggers go by way of `folder`."""

    def __init__(self, checkout: Path, scene: Scene, folder: str):
        self.module, self.scene, self.folder = load(checkout, "nc"), scene, Path(folder)
        self.args = SimpleNamespace(
            device="cpu", dataset="gtsrb", model="", num_classes=CLASSES, EPSILON=1e-7, log=folder,  # not normalized
            init_cost=METHOD.cost, cost_multiplier=2, mask_lr=METHOD.inversion_lr, nc_epoch=METHOD.inversion_epochs,
            atk_succ_threshold=100 * METHOD.success, patience=METHOD.patience, use_norm=1, target_label=0,
            early_stop=True, early_stop_threshold=0.99, early_stop_patience=25, to_file=False,
        )  # fmt: skip
        replaced: dict[str, Any] = {"args": self.args, "generate_cls_model": lambda *_: scene.fresh()}
        replaced |= {"os": MagicMock(wraps=os, getcwd=lambda: ""), "logging": MagicMock()}  # its folder is absolute
        vars(self.module).update(replaced, print=lambda *_: None)
        self.given = {"model": scene.victim.state_dict()}
        self.start = np.ones((1, 16, 16), np.float32), np.ones((3, 16, 16), np.float32)

    def first_gradients(self, label: int, run: Run) -> list[torch.Tensor]:
        """Of mask and pattern, after one batch."""
        self.args.target_label = label
        regression = self.module.RegressionModel(self.args, *self.start, self.given)
        adam = torch.optim.Adam(regression.parameters(), lr=0.1)
        batch = next(iter(Loader(self.scene.holdout, label, run)))
        self.module.train_step(regression, adam, [batch], self.module.Recorder(self.args), 0, self.args)
        return [regression.mask_tanh.grad, regression.pattern_tanh.grad]

    def invert(self, label: int, run: Run) -> ReversedTrigger:
        """The trigger of a class; its image files are left in the folder."""
        self.args.target_label = label
        loader = Loader(self.scene.holdout, label, run)
        recorder, _ = self.module.train_mask(self.args, self.given, loader, *self.start)
        return ReversedTrigger(recorder.mask_best, recorder.pattern_best, recorder.reg_best < float("inf"))

    def flag(self, norms: Sequence[float]) -> list[int]:
        """The classes that it flags."""
        rows = {label: label for label in range(len(norms))}
        return sorted(label for label, _ in self.module.outlier_detection(torch.tensor(norms), rows, self.args))

    def stamp(self, images: np.ndarray, label: int) -> np.ndarray:
        """What its fine-tuning sees: mask and masked pattern each stretched to the range of an image file, summed
        without a bound in whole bytes."""
        mask, part = (self.module.mlt.imread(self.folder / str(label) / f"{name}.png") for name in ("mask", "trigger"))
        return (images * (1 - mask) + 255 * part).astype("uint8")


def compare_gradients(official: Official, run: Run) -> float:
    """The largest relative difference, over the classes, of the first gradients of mask and pattern."""
    gaps = []
    for label in range(CLASSES):
        images, labels = next(iter(Loader(official.scene.holdout, label, run)))
        search = Search(HOW, official.scene.fresh().requires_grad_(False))
        search.step(Batch(255 * images, torch.full_like(labels, label), labels))
        for ours, theirs in zip((search.mask, search.pattern), official.first_gradients(label, run), strict=True):
            assert ours.grad is not None
            gaps.append(float((ours.grad - theirs).norm() / theirs.norm()))
    return max(gaps)


def fine_tune(scene: Scene, data: Images, run: Run) -> Model:
    """A victim after our fine-tuning."""
    model = scene.fresh()
    METHOD.fine_tune(model, data, run)
    return model


def compare(scene: Scene, official: Official, seed: int) -> tuple[str, list[str]]:
    """A row about the triggers, and rows about the models."""
    run = Run("digits", seed)
    theirs = [official.invert(label, run) for label in range(CLASSES)]
    ours = METHOD.invert_all(scene.fresh(), scene.holdout, run)
    nudged = METHOD.invert_all(nudge(scene.fresh()), scene.holdout, run)
    norms = [[float(trigger.mask.sum()) for trigger in side] for side in (ours, theirs, nudged)]
    flagged = [label for label, index in enumerate(anomaly_indices(norms[0])) if index > METHOD.threshold]
    there = official.flag(norms[1])
    about = f"| {seed} | {compare_gradients(official, run):.1e} | {' | '.join(map(_compare, norms[1:], norms[:1] * 2))}"
    about += f" | {sum(t.found for t in ours)}, {sum(t.found for t in theirs)} | {flagged}, {there} |"
    models = {"victim, and what the official code saves as defended": scene.victim}
    if flagged:
        data = METHOD.stamp(scene.holdout, [ours[label] for label in flagged])
        clean, rest = scene.holdout.split(1 - METHOD.stamped)
        stretched = [clean.images, *(official.stamp(rest.images, label) for label in flagged)]
        models["stamps by way of image files"] = fine_tune(scene, replace(data, images=np.concatenate(stretched)), run)
        models["here"] = fine_tune(scene, data, run)
    return about, [f"| {seed} | {name} | {scene.describe(model)} |" for name, model in models.items()]


def _compare(norms: Sequence[float], ours: Sequence[float]) -> str:
    """The largest relative difference of two runs' norms, and their rank correlation."""
    gap = max(abs(own / other - 1) for own, other in zip(ours, norms, strict=True))
    return f"{100 * gap:.1f} %, {spearmanr(ours, norms)[0]:.3f}"


def main(checkout: Path, folder: Path) -> None:
    """Print the comparison as Markdown."""
    triggers, models = [], []
    for seed in SEEDS:
        scene = set_scene(folder, seed)
        with tempfile.TemporaryDirectory() as kept:
            about, rows = compare(scene, Official(checkout, scene, kept), seed)
        triggers.append(about)
        models += rows
    print(INTRODUCTION, *triggers, WHOLE, *models, REASONS, sep="\n")


INTRODUCTION = f"""\
# Neural Cleanse beside BackdoorBench's

What `python -m benchmarks.defenses.nc` prints. BadNets on digits, {METHOD.inversion_epochs} epochs for each of
{CLASSES} classes in batches of {BATCH}, success from {100 * METHOD.success:g} % on. The official `train_mask` and
`outlier_detection` run from their file. `found` and `flagged`: here, official. Norms in the end: the largest relative
difference and Spearman's correlation to the official ones, and between two runs of ours, one of them from weights that
differ by a millionth.

| seed | largest relative difference of a first gradient | norms: official | norms: nudged | found | flagged |
|---|---|---|---|---|---|"""
WHOLE = """
After unlearning what was flagged here, in percent:

| seed | | ACC | ASR | RA |
|---|---|---|---|---|"""
REASONS = """
The first gradients are the same, and so are all flagged classes. Norms part as far as those of two runs of ours that
start a millionth apart: the weight of the size follows whether 98 % of 256 images are fooled, which hangs on single
ones. The official trainer fine-tunes one model and the file gets another: what is saved is the victim."""


if __name__ == "__main__":
    with step(threads=1):
        main(*map(Path, sys.argv[1:]))
