"""FP beside BackdoorBench's: victims on digits in float32 without augmentation, and on CIFAR-10 of the study
`cifar10_small`, with its recipe.

    python -m benchmarks.defenses.fp CHECKOUT FOLDER CLONE

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victim on digits; CLONE is where the study ran.
"""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import TensorDataset

from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, read_scene, set_scene
from benchmarks.defenses._steps import settle
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.fp import FinePruning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.units.features import penultimate_features, prune_features


def main(checkout: str, folder: str, clone: str) -> None:
    """Print the comparisons as Markdown."""
    official = Official(Path(checkout))
    compare("BadNets on digits", set_scene(Path(folder)), official, settle("fp"))
    for attack in ("BadNets", "Blended"):
        scene = read_scene(Path(clone), attack.lower())
        compare(f"{attack} on CIFAR-10 (JPEG)", scene, official, FinePruning(epochs=20))


def compare(name: str, scene: Scene, official: "Official", method: FinePruning) -> None:
    """A section: how alike the orders are; what goes, and what is left before and after our fine-tuning."""
    fit, _ = scene.holdout.split()
    scores, mine, model = prune_here(scene, method)
    order, theirs = official.prune(scene, fit)
    signed = penultimate_features(scene.victim, fit.images).mean(0)
    print(f"\n## {name}\n")
    ranks = order.argsort()
    print(f"- The official order of {len(ranks)} features: Spearman {spearmanr(ranks, signed)[0]:.4f} with our signed")
    print(f"  means, {spearmanr(ranks, scores)[0]:.4f} with the mean sizes that we sort by.")
    print(f"- Of the {len(theirs)} that the official code cuts, our {len(mine)} have {len(set(mine) & set(theirs))}.")
    print("\n| | cut | ACC | ASR | RA | fine-tuned: ACC | ASR | RA |\n|---|---|---|---|---|---|---|---|")
    print(f"| victim | 0 | {scene.describe(scene.victim)} | {tune(scene, method, [])} |")
    print(f"| here | {len(mine)} | {scene.describe(model)} | {tune(scene, method, mine)} |")
    cut = scene.fresh()
    prune_features(cut, theirs)
    print(f"| official | {len(theirs)} | {scene.describe(cut)} | {tune(scene, method, theirs)} |")


def prune_here(scene: Scene, method: FinePruning) -> tuple[list[float], list[int], Model]:
    """The score of each feature, those that are cut, and the victim without them."""
    run, model = Run("digits", 0), scene.fresh()
    replace(method, epochs=0)(model, scene.holdout, run)
    units = [row for row in run.rows if row["kind"] == "unit"]
    return [row["score"] for row in units], [row["unit"] for row in units if row["pruned"]], model


def tune(scene: Scene, method: FinePruning, units: list[int]) -> str:
    """How the victim does without these features after our fine-tuning, as cells."""
    model = scene.fresh()
    fit, _ = scene.holdout.split()
    method.fine_tune(model, fit, Run("digits", 0), after_step=prune_features(model, units))
    return scene.describe(model)


class Official:
    """The method `defense` of `defense/fp.py` up to its fine-tuning, on networks of ours."""

    def __init__(self, checkout: Path):
        self.module = load(checkout, "fp")
        changed = {
            "prepro_cls_DatasetBD_v2": lambda data: data,
            "choose_index": lambda args, count: np.arange(count),
            "argparser_opt_scheduler": lambda network, args: (None, None),
            "given_dataloader_test": judge,
        }
        vars(self.module).update(changed)

    def prune(self, scene: Scene, fit: Images) -> tuple[torch.Tensor, list[int]]:
        """Its order of the features, and those that are cut when it begins to fine-tune."""
        victim = scene.fresh()
        method = self.module.FinePrune.__new__(self.module.FinePrune)
        method.netC = victim.network.eval().requires_grad_(False)
        shown = {"clean_train": fit, "clean_test": scene.test, "bd_test": scene.triggered}
        method.attack_result = {key: Shown(scene, data) for key, data in shown.items()}
        orders, own = list[torch.Tensor](), torch.argsort

        def argsort(values: torch.Tensor) -> torch.Tensor:
            orders.append(own(values))
            return orders[-1]

        with TemporaryDirectory() as folder, patch.object(torch, "argsort", argsort):
            given = {"device": "cpu", "batch_size": 256, "num_workers": 0, "acc_ratio": 0.1, "once_prune_ratio": 0.01}
            method.args = MagicMock(**given, defense_save_path=folder, pin_memory=False, model="preactresnet18")
            method.defense()
        mask = dict(method.netC.named_buffers())[f"{victim.classifier_name}.weight_mask"]
        return orders[0], torch.nonzero((mask == 0).all(0)).flatten().tolist()


class Shown(TensorDataset):
    """Images as the official loaders want them; `features` are what the last layer makes of them."""

    def __init__(self, scene: Scene, data: Images):
        images, labels = scene.normalized(data)
        super().__init__(images, labels)
        self.wrapped_dataset = self
        self.features = penultimate_features(scene.victim, data.images)

    def subset(self, rows: np.ndarray) -> None:
        """All of them."""


def judge(network: nn.Module, loader: Any, *given: Any) -> tuple[dict[str, float], SimpleNamespace]:
    """The share of right answers, by the last layer alone: the layers before it are those of the victim."""
    data, head = loader.dataset, list(network.children())[-1]
    right = (head(data.features).argmax(1) == data.tensors[1]).float().mean()
    return {"test_acc": float(right)}, SimpleNamespace()


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
