"""What the comparisons of attacks that control training share: BackdoorBench's files without what they import, and its
loops with networks and batches of ours."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
import yaml

from benchmarks.compare_tsbd import executed
from workflow_scripts.attacks import Poison
from workflow_scripts.attacks._implants import Implant, draw_others
from workflow_scripts.common import config, spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy, predict
from workflow_scripts.training.loader import Resident, to_network

RATIO = 0.1
IMPORTED = (
    *("numba", "numba.types", "attack", "attack.badnet", "utils", "utils.aggregate_block", "utils.trainer_cls"),
    *("utils.aggregate_block.dataset_and_transform_generate", "utils.aggregate_block.model_trainer_generate"),
    *("utils.aggregate_block.train_settings_generate", "utils.save_load_attack", "utils.bd_dataset_v2"),
)


def load(checkout: Path, name: str) -> ModuleType:
    """The module `attack/NAME.py`, what it imports from elsewhere replaced by stubs: its class derives from nothing,
    and functions that numba would compile run as they are."""
    stubs: dict[str, Any] = {key: MagicMock() for key in IMPORTED}
    stubs["attack.badnet"].BadNet = object
    stubs["numba"].jit = lambda *given, **options: lambda function: function
    sys.modules.update(stubs)
    with patch.object(sys, "path", list(sys.path)):
        return executed(checkout / "attack" / f"{name}.py")


@dataclass(frozen=True)
class Setting:
    """Digits of one seed, and a network for them as config.yaml has it, in float32 at a learning rate that falls
    epoch by epoch along a cosine."""

    seed: int

    @property
    def run(self) -> Run:
        """The random streams."""
        return Run("digits", self.seed)

    def read(self) -> tuple[Images, Images]:
        """Training and test images."""
        return Digits().prepare(self.run)[:2]

    def build(self) -> Model:
        """The untrained network."""
        settings = config.read(yaml.safe_load(Path("config.yaml").read_text())).settings_of("digits")
        chosen = spellings.resolve("models", "preact_small", settings)
        model = weights.build("preact_small", chosen, self.read()[0].format, self.run)
        model.recipe = replace(model.recipe, schedule="cosine", precision="fp32")
        return model


class Batches(list[tuple[torch.Tensor, torch.Tensor]]):
    """Normalized images and labels, as the official loops iterate over them, and the `dataset` that they ask how large
    it is."""

    def __init__(self, data: Images, model: Model, order: torch.Generator):
        self.dataset = data
        resident = Resident(data, torch.device("cpu"))
        for rows in resident.positions(model.recipe.batch_size, order):
            images = to_network(resident.images[rows]).to(model.mean.dtype) / 255
            self.append(((images - model.mean) / model.std, resident.labels[rows]))


def optimizer_of(model: Model) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The recipe's SGD and its learning rates, of torch."""
    given = {key: getattr(model.recipe, key) for key in ("lr", "momentum", "weight_decay")}
    sgd = torch.optim.SGD(model.network.parameters(), **given)
    return sgd, torch.optim.lr_scheduler.CosineAnnealingLR(sgd, model.recipe.epochs)


def official_arguments(**changed: Any) -> SimpleNamespace:
    """What both official loops read of their configuration."""
    given = {"device": "cpu", "non_blocking": False, "attack_label_trans": "all2one", "attack_target": 0}
    return SimpleNamespace(**given, num_classes=10, pratio=RATIO, **changed)


Change = Callable[[np.ndarray], np.ndarray]


def describe(model: Model, setting: Setting, attack: Implant, trigger: Change, cover: Change) -> str:
    """ACC, ASR and the share of covers, each made of a test image, that get their own label, in percent, as cells."""
    test = setting.read()[1]
    rows, wanted = attack.asr_subset(test.labels, 10)
    hits = (predict(model, trigger(test.images[rows])) == wanted).mean()
    return f"{100 * accuracy(model, test):.1f} | {100 * hits:.1f} | " + (
        f"{100 * accuracy(model, replace(test, images=cover(test.images))):.1f}"
    )


def other_rows(count: int, setting: Setting) -> torch.Tensor:
    """For each of so many rows another one."""
    return draw_others(torch.arange(count), count, setting.run.torch_rng("compared covers"))


def train_here(attack: Implant, setting: Setting) -> Poison:
    """What our attack makes."""
    return attack(train=setting.read()[0], model=setting.build(), ratio=RATIO, run=setting.run)
