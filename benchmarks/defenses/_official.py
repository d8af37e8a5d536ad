"""What the comparisons of defenses share: BackdoorBench's files without what they import, and one victim for both."""

import ast
import copy
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch

from benchmarks.attacks._official import Setting
from benchmarks.compare_tsbd import executed
from workflow_scripts.attacks.badnets import BadNets
from workflow_scripts.common.images import Images
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy, predict
from workflow_scripts.training.loop import train as fit

RATIO, GIVEN, SIDE = 0.1, 256, 3
STUBBED = ("utils", "defense", "models", "cv2")
"""The packages whose modules official files ask for and their loops do without."""


def load(checkout: Path, name: str, real: tuple[str, ...] = ()) -> ModuleType:
    """The module `defense/NAME.py`, what it imports of STUBBED replaced by stubs: its class derives from nothing. Of
    the modules and packages in `real`, `utils.defense_utils.sam` say, it gets the checkout's own."""
    path = checkout / "defense" / f"{name}.py"
    for imported in _imported(path):
        _put(imported, MagicMock())
    sys.modules["defense.base"].defense = object  # type: ignore[attr-defined]
    with patch.object(sys, "path", list(sys.path)):
        for imported in real:
            _put_real(imported, checkout / imported.replace(".", "/"))
        return executed(path)


def _imported(path: Path) -> Iterator[str]:
    """The modules of STUBBED that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.split(".")[0] in STUBBED)


def _put_real(name: str, path: Path) -> None:
    """Run the package in the folder `path`, or else the file of this name."""
    file, parts = (path / "__init__.py", [str(path)]) if path.is_dir() else (path.with_suffix(".py"), None)
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=parts)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    _put(name, module)
    spec.loader.exec_module(module)


def _put(name: str, module: Any) -> None:
    """Make it what an import of this name finds, by way of its parents too."""
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        if not isinstance(sys.modules.get(parent), MagicMock):
            _put(parent, MagicMock())
        setattr(sys.modules[parent], child, module)


@dataclass(frozen=True)
class Scene:
    """A network that has learned BadNets' square on digits, in float32 and asked without augmentation, what a defender
    is given, and what says how well it went."""

    victim: Model
    holdout: Images
    test: Images
    triggered: Images
    """Test images of other classes with the square; their labels are the target's."""
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
    """The scene of a seed; its victim is read from the folder, or trained and kept there."""
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
    rows, wanted = attack.asr_subset(test.labels, 10)
    triggered = replace(test[rows], images=poison.trigger(test.images[rows]), labels=wanted)
    holdout = dataset.draw_holdout(train, reserved, setting.run)[:GIVEN]
    return Scene(model, holdout, test, triggered, test.labels[rows])
