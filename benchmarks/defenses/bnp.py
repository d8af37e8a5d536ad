"""BNP beside BackdoorBench's: one victim and one batch of clean images, float32.

    python -m benchmarks.defenses.bnp CHECKOUT FOLDER

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victim.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from benchmarks.compare_tsbd import executed
from benchmarks.defenses._official import load
from benchmarks.defenses._outliers import compare
from benchmarks.defenses._scene import set_scene
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.bnp import BatchNormPruning, divergences
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.units.activations import preactivation_moments


class Batches:
    """A loader of one batch whose iterator has `next`, as torch's had when the official file was written."""

    def __init__(self, images: torch.Tensor):
        self.images = images

    def __iter__(self) -> Any:
        return self

    def next(self) -> tuple[torch.Tensor]:
        """The batch."""
        return (self.images,)

    __next__ = next


def main(checkout: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    scene, module = set_scene(Path(folder)), load(Path(checkout), "bnp")
    home = Path(checkout) / "utils" / "defense_utils" / "mbns" / "mbns_model"
    batches = Batches(scene.normalized(scene.holdout)[0])

    def here(model: Model, u: float, run: Run) -> Model:
        return BatchNormPruning(u=u)(model, scene.holdout, run)

    def prune_there(network: nn.Module, u: float) -> None:
        loaders = {"clean_train": batches, "bd_train": batches}
        module.bnp_defense(network, u, loaders, SimpleNamespace(device="cpu"))

    kind = executed(home / "mbns_batchnorm.py").BatchNorm2d_MBNS
    compare(scene, here, prune_there, kind, twins(scene.victim, scene.holdout))


def twins(victim: Model, holdout: Images) -> dict[str, torch.Tensor]:
    """Our scores, but with the whole logarithm of the ratio of variances, as the official ones have it."""
    found = {}
    for name, (mean, variance) in preactivation_moments(victim, holdout.images).items():
        norm = victim.network.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
        found[name] = divergences(mean, variance, norm) + torch.log(norm.running_var / variance) / 2
    return found


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
