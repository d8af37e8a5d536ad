"""BppAttack beside BackdoorBench's: colors and negatives of the same images, and short trainings.

    python -m benchmarks.attacks.bpp BACKDOORBENCH PARQUET > benchmarks/attacks/bpp.md

BACKDOORBENCH: a checkout of SCLBD/BackdoorBench; PARQUET: a file of CIFAR-10's images.
"""

import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from torchvision.transforms import ToPILImage

from benchmarks.attacks._official import (
    Batches,
    Setting,
    describe,
    load,
    official_arguments,
    optimizer_of,
    other_rows,
    train_here,
)
from workflow_scripts.attacks.bpp import Bpp
from workflow_scripts.datasets.parquet import ParquetFile
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model

SEEDS = (0, 1, 2)
ASKED = 100
CASES = ((2, False), (3, False), (3, True))
"""Bits, and whether they are dithered."""
INTRODUCTION = """\
# BppAttack beside BackdoorBench's

`python -m benchmarks.attacks.bpp BACKDOORBENCH PARQUET`, one thread of a CPU; the functions and the loop of
`attack/bpp.py`, run from the file as Python, without numba. 100 test images of CIFAR-10's JPEG copy, in gray levels.
Without dithering the official trigger is a fraction in training, and truncated where it is stored; ours is rounded in
both. Dithered, a value half way between two levels may fall to either side of it, and what comes after it follows.

| bits | dithering | values that differ by more than half a level | largest difference | as stored there |
|---|---|---|---|---|"""
TRAININGS = """
Short trainings on digits: the same untrained network, batches in the same order, 16 epochs at a learning rate that
falls along a cosine, no augmentation; the first tenth of each batch is payload, the second one negatives. ACC, ASR, and
test images under another one's residual that get their own label, in percent. The official loop leaves fractions of a
tenth out (6 of 64, here 6.4 in the mean) and takes residuals of stored images.

| seed | bits | dithering | ACC here | ASR | negatives | ACC official | ASR | negatives |
|---|---|---|---|---|---|---|---|---|"""


def main(checkout: str, parquet: str) -> None:
    """Print the comparison as Markdown."""
    official = load(Path(checkout), "bpp")
    images = ParquetFile(file=parquet).load()[1].images[:ASKED]
    print(INTRODUCTION)
    for bits in (1, 3, 5):
        for dithering in (False, True):
            print_trigger(official, images, Bpp(bits=bits, dithering=dithering))
    print(TRAININGS)
    for bits, dithering in CASES:
        attack = Bpp(bits=bits, dithering=dithering, choice="batch", training="recipe")
        for setting in map(Setting, SEEDS):
            pair = train_here(attack, setting).victim, train_there(official, attack, setting)
            cells = " | ".join(judge(model, attack, setting) for model in pair)
            print(f"| {setting.seed} | {attack.bits} | {attack.dithering} | {cells} |", flush=True)


def print_trigger(official: ModuleType, images: np.ndarray, attack: Bpp) -> None:
    """A row of the first table."""
    ours = attack.make_trigger(images.shape[1:], Setting(0).run)(images).astype(float)
    theirs = quantize(official, images, attack)
    stored = store(theirs)
    gaps = [np.abs(ours - other) for other in (theirs, stored)]
    shown = f"{(gaps[0] > 0.5 + 1e-4).sum()} of {ours.size} | {gaps[0].max():.3f} | {gaps[1].max():.0f}"
    print(f"| {attack.bits} | {attack.dithering} | {shown} |")


def quantize(official: ModuleType, images: np.ndarray, attack: Bpp) -> np.ndarray:
    """Floating-point gray levels, as the official loop makes them of images (N, H, W, C)."""
    levels = 2**attack.bits
    values = images.transpose(0, 3, 1, 2).astype(np.float32)
    if not attack.dithering:
        return (np.round(values / 255.0 * (levels - 1)) / (levels - 1) * 255).transpose(0, 2, 3, 1)
    with patch.object(np, "round_", lambda x, decimals, out: np.round(x, decimals, out), create=True):
        dithered = [official.floydDitherspeed(image, float(levels)) for image in values]
    return np.round(np.stack(dithered)).transpose(0, 2, 3, 1)


def store(values: np.ndarray) -> np.ndarray:
    """As it stores them: torchvision truncates."""
    unit = torch.from_numpy(values / 255).float().permute(0, 3, 1, 2)
    return np.stack([np.asarray(ToPILImage()(image)) for image in unit])


def train_there(official: ModuleType, attack: Bpp, setting: Setting) -> Model:
    """A network after the official loop."""
    train, model = setting.read()[0], setting.build()
    height, width, _ = train.format.shape
    args = official_arguments(
        dataset="digits",
        neg_ratio=attack.cover_share,
        squeeze_num=2**attack.bits,
        dithering=attack.dithering,
        input_height=height,
        input_width=width,
        random_crop=0,
        random_rotation=0,
    )
    stored = store(quantize(official, train.images, attack))
    holder = SimpleNamespace(
        device="cpu",
        clean_train_dataset=[(image,) for image in train.images],
        bd_train_dataset=[(image,) for image in stored],
    )
    order, (sgd, rates) = setting.run.torch_rng("training/order"), optimizer_of(model)
    random.seed(setting.seed)
    torch.manual_seed(setting.seed)
    with (
        patch.multiple(
            official,
            back_to_np_4d=lambda inputs, args: 255 * (inputs * model.std + model.mean),
            np_4d_to_tensor=lambda inputs, args: (inputs / 255 - model.mean) / model.std,
        ),
        patch.object(np, "round_", lambda x, decimals, out: np.round(x, decimals, out), create=True),
    ):
        for _ in range(model.recipe.epochs):
            official.Bpp.train_step(holder, model.network, sgd, rates, Batches(train, model, order), args)
    return model.eval()


def judge(model: Model, attack: Bpp, setting: Setting) -> str:
    """ACC, ASR and negatives, as cells."""
    test = setting.read()[1]
    trigger = attack.make_trigger(test.format.shape, setting.run)
    others = test.images[other_rows(len(test), setting)].astype(int)

    def add_residual(images: np.ndarray) -> np.ndarray:
        return np.clip(images + trigger(others.astype(np.uint8)).astype(int) - others, 0, 255).astype(np.uint8)

    return describe(model, setting, attack, trigger, add_residual)


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
