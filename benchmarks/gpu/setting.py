"""What the sections share: the images, the network and its recipe, the attacked cell, and a clock."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflow_scripts.attacks.badnets import BadNets
from workflow_scripts.common import spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.datasets import Dataset
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.datasets.parquet import ParquetFile
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loop import train

Row = dict[str, Any]
Measure = Callable[["Setting"], Iterator[Row]]
"""What a section does: it yields a row for each thing that it has measured."""
NAME, FILE, ARCHITECTURE, RATIO = "cifar10_jpeg", "cifar10_jpeg.parquet", "preact_resnet18", 0.1
FAST = {"epochs": 15, "lr": 0.1, "batch_size": 256, "schedule": "one_cycle", "precision": "bf16"}
SMALL = {"epochs": 6, "batch_size": 64, "crop": 2, "flip": False, "width": 8}
"""What is other about the recipe and the network where all is tiny."""


@dataclass(frozen=True)
class Setting:
    """folder: where the sections leave files for each other; backdoorbench: a checkout of it, if there is one."""

    train: Images
    test: Images
    folder: Path
    tiny: bool
    backdoorbench: str = ""

    @property
    def run(self) -> Run:
        return Run(NAME, 0)

    @property
    def speed_images(self) -> Images:
        """Those that throughput is measured on: half of the training set."""
        return self.train[: 256 if self.tiny else 25_600]

    def params(self, **fields: Any) -> dict[str, Any]:
        """The hyper-parameters of the network, these fields among them."""
        own = FAST | (SMALL if self.tiny else {}) | fields
        return spellings.resolve("models", ARCHITECTURE, {"models": {ARCHITECTURE: own}})

    def build(self, **fields: Any) -> Model:
        """An untrained PreAct-ResNet18 with the fast recipe, but for these fields."""
        return weights.build(ARCHITECTURE, self.params(**fields), self.train.format, self.run)

    def poison(self) -> tuple[Images, Truth]:
        """What a BadNets attacker publishes, and what he keeps to himself."""
        attack = BadNets()
        poison = attack(train=self.train, ratio=RATIO, run=self.run)
        rows, wanted = attack.asr_subset(self.test.labels, len(self.test.format.classes))
        triggered = replace(self.test[rows], images=poison.trigger(self.test.images[rows]), labels=wanted)
        kept = (poison.roles, poison.altered.index, poison.original_labels)
        truth = Truth(triggered, self.test.labels[rows], *kept, psnr=None, rms=None, ssim=None)
        return self.train.replace_rows(poison.altered), truth

    def holdout(self, share: float) -> Images:
        """The clean images of a defender: this share of the training set."""
        return Dataset().draw_holdout(self.train, self.train[:0], self.run)[: round(share * len(self.train))]


def prepare(data: str, folder: Path, tiny: bool, backdoorbench: str) -> Setting:
    """Of CIFAR-10's file in the folder `data`; where all is tiny, of scikit-learn's digits."""
    if tiny:
        train, test, _ = Digits().prepare(Run(NAME, 0))
        return Setting(train[:600], test[:200], folder, tiny, backdoorbench)
    train, test, _ = ParquetFile(file=str(Path(data, FILE))).prepare(Run(NAME, 0))
    return Setting(train, test, folder, tiny, backdoorbench)


def wait() -> None:
    """Until the device has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def time_call(call: Callable[[], object], repeats: int) -> float:
    """Seconds of one of so many calls in a row, after two that do not count."""
    for _ in range(2):
        call()
    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - started) / repeats


def time_epochs(model: Model, data: Images, run: Run) -> list[float]:
    """Seconds of each epoch of the model's recipe but the first, in which the device warms up."""
    ends: list[float] = []

    def note_end() -> bool:
        ends.append(time.perf_counter())
        return False

    train(model, data, model.recipe, run, until=note_end)
    return np.diff(ends).tolist()
