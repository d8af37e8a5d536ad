"""CLP beside BackdoorBench's: victims on digits in float32 without augmentation, and on CIFAR-10 of the study
`cifar10_small`, with its recipe.

    python -m benchmarks.defenses.clp CHECKOUT FOLDER CLONE

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victim on digits; CLONE is where the study ran.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from benchmarks.defenses._official import load
from benchmarks.defenses._outliers import compare
from benchmarks.defenses._scene import Scene, read_scene, set_scene
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.clp import ChannelLipschitzPruning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model

US = (5.0, 4.0, 3.5, 3.0, 2.5, 2.0)


def main(checkout: str, folder: str, clone: str) -> None:
    """Print the comparisons as Markdown."""
    prune_there = load(Path(checkout), "clp").CLP_prune
    scenes = {"BadNets on digits": set_scene(Path(folder))}
    scenes |= {f"{name} on CIFAR-10 (JPEG)": read_scene(Path(clone), name.lower()) for name in ("BadNets", "Blended")}
    for name, scene in scenes.items():
        print(f"\n## {name}\n")
        with torch.no_grad():
            compare(scene, prune_here, prune_there, nn.BatchNorm2d, score_by_order(scene), US)


def prune_here(model: Model, u: float, run: Run) -> Model:
    """Our defense."""
    return ChannelLipschitzPruning(u=u)(model, run)


def score_by_order(scene: Scene) -> dict[str, torch.Tensor]:
    """The bounds of each normalization with the convolution that comes last before it among the modules, as the
    official code has them."""
    found, kernels = {}, torch.empty(0)
    for name, module in scene.victim.network.named_modules():
        if isinstance(module, nn.Conv2d):
            kernels = module.weight.flatten(2)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            norms = torch.linalg.svdvals(kernels)[:, 0][: len(module.weight)]
            found[name] = norms * module.weight.abs() / module.running_var.sqrt()
    return found


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
