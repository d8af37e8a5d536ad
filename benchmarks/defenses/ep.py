"""EP beside BackdoorBench's: one victim and all published images as one batch, float32.

    python -m benchmarks.defenses.ep CHECKOUT FOLDER

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victim.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

from torch import nn

from benchmarks.attacks._official import Setting
from benchmarks.compare_tsbd import executed
from benchmarks.defenses._official import load
from benchmarks.defenses._outliers import compare
from benchmarks.defenses._scene import RATIO, SIDE, set_scene
from workflow_scripts.attacks.badnets import BadNets
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.ep import EntropyPruning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model


def main(checkout: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    scene, module, published = set_scene(Path(folder)), load(Path(checkout), "ep"), publish()
    home = Path(checkout) / "utils" / "defense_utils" / "dde" / "dde_model"
    batches = [scene.normalized(published)]

    def here(model: Model, u: float, run: Run) -> Model:
        return EntropyPruning(u=u)(model, published, run)

    def prune_there(network: nn.Module, u: float) -> None:
        module.EP_defense(network, u, batches, SimpleNamespace(device="cpu"))

    compare(scene, here, prune_there, executed(home / "dde_batchnorm.py").BatchNorm2d_DDE)


def publish() -> Images:
    """The images that the scene's victim has been trained on."""
    setting = Setting(0)
    train, _ = setting.read()
    poison = BadNets(side=SIDE)(train=train, ratio=RATIO, run=setting.run)
    return train.replace_rows(poison.altered)


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
