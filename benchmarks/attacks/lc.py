"""Label-consistent poisoning beside BackdoorBench's: the pattern, and how one network makes the same images hard.

    python -m benchmarks.attacks.lc BACKDOORBENCH PARQUET > benchmarks/attacks/lc.md

BACKDOORBENCH: a checkout of SCLBD/BackdoorBench. PARQUET: a file of CIFAR-10's images. The network is one of ours,
trained adversarially for a few epochs on the images at half their side; BackdoorBench has no code that trains one, and
none of its checkpoints is here.
"""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch

from benchmarks.compare_tsbd import drawn, executed, halved
from workflow_scripts.attacks.lc import LabelConsistent
from workflow_scripts.auxiliaries.robust import Robust
from workflow_scripts.common import spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.jobs.step import step
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import predict
from workflow_scripts.training.loader import to_network

RUN = Run("cifar10_jpeg", 0)
AMPLITUDES = (1.0, 32 / 255)
RADII = (8.0, 16.0)
ASKED = 100
EPOCHS = 6
RECIPE = {"width": 16, "lr": 0.05, "batch_size": 64, "precision": "fp32"}

INTRODUCTION = """\
# Label-consistent poisoning beside BackdoorBench's

`python -m benchmarks.attacks.lc BACKDOORBENCH PARQUET`, one thread of a CPU; `utils/bd_img_transform/lc.py` and the
class `PGD` of `resource/label-consistent/craft_adv_dataset.py`, run from their files; BackdoorBox has the same class.
Images of CIFAR-10's JPEG copy.

The pattern on the same images, in gray levels. BackdoorBench truncates and this project rounds, which is the same
here: 255 and 32 are whole. At other sizes BackdoorBench scales a picture of 32x32 with all four corners, by nearest
pixels: at 64 the same; at 16, where that takes every other pixel, its corners are of 1x1, 1x2, 2x1 and 2x2 pixels,
ours all of 2x2.

| side | amplitude | images | pixels that differ, at most | largest difference |
|---|---|---|---|---|"""
SEARCH = """
The perturbation: 100 steps of 1.5 from the image itself, by one adversarially trained network, of the same images at
half their side. The difference before anybody rounds, and as stored, where BackdoorBench truncates: floating-point
numbers a little below a whole one lose a gray level there. The last columns say what percentage the network gets right.

| eps | largest difference | as stored | values that differ | clean | ours | theirs |
|---|---|---|---|---|---|---|"""


def main(checkout: str, parquet: str) -> None:
    """Print the comparison as Markdown."""
    train, _, test = drawn(Path(parquet))
    print(INTRODUCTION)
    module = executed(Path(checkout) / "utils" / "bd_img_transform" / "lc.py")
    small = halved(test)
    for data in (test, small, replace(test, images=test.images.repeat(2, 1).repeat(2, 2))):
        for amplitude in AMPLITUDES:
            print_pattern(module, data.images[:ASKED], amplitude)
    print(SEARCH)
    network = train_robust(halved(train))
    for eps in RADII:
        print_search(load_search(Path(checkout)), network, small[:ASKED], eps)


def print_pattern(module: ModuleType, images: np.ndarray, amplitude: float) -> None:
    """A row of the first table."""
    ours = LabelConsistent(amplitude=amplitude).make_trigger(images.shape[1:], RUN)(images)
    official = module.labelConsistentAttack(reduced_amplitude=amplitude)
    theirs = np.stack([official.poison_from_indices(image) for image in images]).astype(np.uint8)
    apart = np.abs(ours.astype(int) - theirs)
    cells = (len(ours[0]), f"{amplitude:.3f}", len(ours), (apart.max(3) > 0).sum((1, 2)).max(), apart.max())
    print("| " + " | ".join(map(str, cells)) + " |")


def train_robust(data: Images) -> Model:
    """A small network, trained adversarially."""
    params = spellings.resolve("models", "preact_small", {"models": {"preact_small": RECIPE}})
    made = Robust(steps=3, step=4.0, epochs=EPOCHS, lr=0.05)(
        data, weights.build("preact_small", params, data.format, RUN), RUN
    )
    return made.requires_grad_(False).eval()


def load_search(checkout: Path) -> Any:
    """BackdoorBench's module that makes the images, without its `utils` and without a change of folder."""
    parts = ("fix_random", "model_trainer_generate", "dataset_and_transform_generate", "save_path_generate")
    names = ["utils", "utils.aggregate_block", "utils.bd_dataset_v2", "utils.aggregate_block.train_settings_generate"]
    names += [f"utils.aggregate_block.{part}" for part in parts]
    with patch.dict(sys.modules, {name: MagicMock() for name in names}), patch("os.chdir"):
        return executed(checkout / "resource" / "label-consistent" / "craft_adv_dataset.py")


def print_search(module: Any, network: Model, data: Images, eps: float) -> None:
    """A row of the second table."""
    attack, labels = LabelConsistent(eps=eps), torch.from_numpy(data.labels)
    images = to_network(torch.from_numpy(data.images)).float() / 255
    ours = 255 * attack.perturb(network, images, labels, torch.Generator())
    official = module.PGD(network, eps=eps / 255, alpha=attack.step / 255, steps=attack.steps, device="cpu")
    theirs = 255 * official(images, labels)
    official.set_return_type("int")
    stored = official(images, labels).permute(0, 2, 3, 1).numpy()
    own = attack.perturb_all(network, data, torch.Generator())
    raw, apart = (ours - theirs).abs(), np.abs(own.images.astype(int) - stored)
    cells = [f"{eps:g}", f"{raw.max():.1e}", str(apart.max()), f"{100 * (apart > 0).mean():.1f} %"]
    for asked in (data.images, own.images, stored):
        cells.append(f"{100 * (predict(network, asked) == data.labels).mean():.0f}")
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
