"""What the comparisons of defenses share: one victim for both sides, and what became of it."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.attacks._official import Setting
from workflow_scripts.attacks import DataPoison, Trigger
from workflow_scripts.attacks.badnets import BadNets
from workflow_scripts.common import catalog, image_files
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy, predict
from workflow_scripts.training.loop import train as fit

RATIO, GIVEN, SIDE = 0.1, 256, 3
CIFAR, SHARE, TESTED = "cifar10_jpeg", 0.05, 2000


@dataclass(frozen=True)
class Scene:
    """A network that has learned a trigger, what a defender is given, and what says how well it went."""

    victim: Model
    holdout: Images
    test: Images
    triggered: Images
    """Test images of other classes with the trigger; their labels are the target's."""
    own_labels: np.ndarray
    """Those that the images under the trigger had before."""

    def fresh(self) -> Model:
        """A victim of one's own to change."""
        return copy.deepcopy(self.victim)

    def describe(self, model: Model) -> str:
        """ACC, ASR and RA in percent, as the cells of a row."""
        found = predict(model, self.triggered.images)
        hits, right = (found == self.triggered.labels).mean(), (found == self.own_labels).mean()
        return f"{100 * accuracy(model, self.test):.1f} | {100 * hits:.1f} | {100 * right:.1f}"

    def normalized(self, data: Images) -> tuple[torch.Tensor, torch.Tensor]:
        """float32 (N, C, H, W) and int64 (N,): images as the official loops and `victim.network` are shown them."""
        pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2)
        return self.victim.embed(pixels).contiguous(), torch.from_numpy(data.labels)


def set_scene(folder: Path, seed: int = 0) -> Scene:
    """BadNets' square on digits, in float32 without augmentation; the seed's victim is read from the folder, or trained
    and kept there."""
    setting, attack, dataset = Setting(seed), BadNets(side=SIDE), Digits()
    train, test, reserved = dataset.prepare(setting.run)
    poison = attack(train=train, ratio=RATIO, run=setting.run)
    folder.mkdir(parents=True, exist_ok=True)
    path, model = folder / f"digits_{seed}.safetensors", setting.build()
    if not path.exists():
        fit(model, train.replace_rows(poison.altered), model.recipe, setting.run)
        weights.save(path, model, {})
    else:
        model.network.load_state_dict(weights.load_frozen(path, setting.run.device).network.state_dict())
    holdout = dataset.draw_holdout(train, reserved, setting.run)[:GIVEN]
    return _make_scene(model, holdout, test, attack, poison.trigger)


def read_scene(clone: Path, attack: str) -> Scene:
    """A victim of seed 0 of the study `cifar10_small`, read from the clone in which it ran, with its recipe and
    all that its defenders were given; of the test images the first 2,000."""
    home, run = clone / "results" / "artifacts" / CIFAR, Run(CIFAR, 0)
    train, test, holdout = (
        image_files.read_images(home / name)[0] for name in ("train.parquet", "test.parquet", "holdout/seed~0.parquet")
    )
    model = weights.load_frozen(find_victim(clone, attack), run.device).requires_grad_()
    method = catalog.make("attacks", attack, {})
    trigger = method(train=train, ratio=RATIO, run=run).trigger
    return _make_scene(model, holdout[: round(SHARE * len(train))], test[:TESTED], method, trigger)


def find_victim(clone: Path, attack: str) -> Path:
    """Where its weights stand."""
    (path,) = (clone / "results" / "artifacts" / CIFAR).glob(f"{attack}/ratio~{RATIO}/seed~0/*/victim.safetensors")
    return path


def _make_scene(model: Model, holdout: Images, test: Images, attack: DataPoison, trigger: Trigger) -> Scene:
    rows, wanted = attack.asr_subset(test.labels, len(test.format.classes))
    triggered = replace(test[rows], images=trigger(test.images[rows]), labels=wanted)
    return Scene(model, holdout, test, triggered, test.labels[rows])


def with_weights(scene: Scene, network: nn.Module) -> Model:
    """A network of the victim's architecture as one of our models."""
    model = scene.fresh()
    model.network.load_state_dict({key: network.state_dict()[key] for key in model.network.state_dict()})
    return model


def replace_norms(network: nn.Module, kind: Any) -> nn.Module:
    """A copy of the network with batch normalizations of the official class, which may have masks of its own."""
    found = copy.deepcopy(network).eval()
    for name, module in list(found.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            norm = kind(module.num_features).eval()
            norm.load_state_dict(module.state_dict(), strict=False)
            found.set_submodule(name, norm)
    return found


def find_pruned(victim: Model, model: Model) -> set[tuple[str, int]]:
    """The channels whose gamma has become 0."""
    found = set()
    for name, module in victim.network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            after = model.network.get_parameter(f"{name}.weight")
            gone = torch.nonzero((module.weight != 0) & (after == 0)).flatten().tolist()
            found |= {(name, channel) for channel in gone}
    return found


def pruned_row(scene: Scene, name: str, model: Model) -> str:
    """A line of a table: how many channels are gone, and how well the rest does."""
    return f"| {name} | {len(find_pruned(scene.victim, model))} | {scene.describe(model)} |"
