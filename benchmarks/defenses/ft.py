"""FT beside BackdoorBench's, on victims of the study `cifar10_small`: the same network and images, each side's own
augmentation, order and precision.

    python -m benchmarks.defenses.ft BACKDOORBENCH CLONE

BACKDOORBENCH is a checkout of github.com/SCLBD/BackdoorBench; CLONE is where the study ran.
"""

import importlib
import sys
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from torchvision.transforms import Normalize

from benchmarks.defenses._scene import Scene, read_scene
from benchmarks.gpu.official import Pictures, open_checkout
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.ft import FineTuning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model

RUNS = ((20, 0), (20, 1), (100, 0))
"""Epochs, and the seed of order and augmentation."""
SHOWN = 64
"""Test images that the official loop is shown after each epoch: it chooses nothing by them."""


def main(checkout: str, clone: str) -> None:
    """Print the comparison as Markdown."""
    open_checkout(checkout)
    official = importlib.import_module("defense.ft")
    print("| attack | epochs | seed | | ACC | ASR | RA |\n|---|---|---|---|---|---|---|")
    for attack in ("badnets", "blended"):
        scene = read_scene(Path(clone), attack)
        print(f"| `{attack}` | 0 | | victim | {scene.describe(scene.victim)} |", flush=True)
        for epochs, seed in RUNS:
            row = f"| `{attack}` | {epochs} | {seed} |"
            print(f"{row} here | {scene.describe(tune_here(scene, epochs, seed))} |", flush=True)
            there = tune_there(official, Path(checkout), scene, epochs, seed)
            print(f"{row} official | {scene.describe(there)} |", flush=True)


def tune_here(scene: Scene, epochs: int, seed: int) -> Model:
    """The victim after our fine-tuning, its order and augmentation of this seed."""
    return FineTuning(epochs=epochs)(scene.fresh(), scene.holdout, Run("cifar10_jpeg", seed))


def tune_there(official: Any, checkout: Path, scene: Scene, epochs: int, seed: int) -> Model:
    """The victim after the method `mitigation` of the official class, on all that our defender is given."""
    defended, shown = scene.fresh(), scene.test[:SHOWN]
    holder, args = official.ft.__new__(official.ft), read_args(checkout)
    vars(args).update(epochs=epochs, cos_t_max=epochs, random_seed=seed, num_classes=len(shown.format.classes))
    vars(args).update(input_height=shown.images.shape[1], input_width=shown.images.shape[2])
    kinds = importlib.import_module("utils.bd_dataset_v2")
    given, tested = Pictures(scene.holdout), kinds.prepro_cls_DatasetBD_v2(Pictures(shown))
    saved = {"clean_train": given, "clean_test": tested, "bd_test": tested}
    holder.result = {key: kinds.dataset_wrapper_with_transform(data) for key, data in saved.items()}
    holder.result["model"] = defended.network.state_dict()
    parts = importlib.import_module("utils.aggregate_block.dataset_and_transform_generate")
    changed = {
        "args": args,
        "generate_cls_model": lambda name, count: defended.network,
        "choose_index": lambda args, count: np.arange(count),
        "save_defense_result": lambda **given: None,
    }
    normalize = Normalize(defended.mean.flatten().tolist(), defended.std.flatten().tolist())
    with TemporaryDirectory() as folder, patch.object(parts, "get_dataset_normalization", lambda name: normalize):
        holder.args = args
        vars(args).update(log=f"{folder}/", save_path=folder)
        with patch.dict(vars(official), changed):
            holder.mitigation()
    defended.eval()
    return defended


def read_args(checkout: Path) -> Namespace:
    """Its settings for CIFAR-10, on a CPU."""
    settings = yaml.safe_load((checkout / "config" / "defense" / "ft" / "cifar10.yaml").read_text(encoding="utf-8"))
    return Namespace(**settings | {"device": "cpu", "amp": False, "pin_memory": False, "num_workers": 0})


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
