"""Small data for all tests: real digits, in memory."""

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from checkout import HERE, copy_of_checkout, snakemake

from workflow_scripts.common import catalog, config, spellings
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.scores import Scores
from workflow_scripts.common.truth import Truth
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Extractor, Model
from workflow_scripts.training.loop import train as fit

torch.set_num_threads(1)  # as in a job; with two, torch 2.15 corrupts memory in the backward pass of odd batches here

SMALL = {"epochs": 4, "lr": 0.05, "batch_size": 32, "crop": 0, "flip": False, "schedule": "one_cycle"}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which the study of seconds has run."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("built"))
    snakemake(folder)
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of that, times and all, to change."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


@pytest.fixture(scope="session")
def digits() -> tuple[Images, Images]:
    """400 training and 150 test images."""
    train, test, _ = Digits().prepare(Run("digits", 0))
    return train[:400], test[:150]


@pytest.fixture
def run() -> Run:
    return Run("digits", 0)


@pytest.fixture
def no_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not held against the sums of CIFAR's whole archives."""
    monkeypatch.setattr("torchvision.datasets.CIFAR10._check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)


@pytest.fixture(scope="session")
def untrained(digits: tuple[Images, Images]) -> Callable[[], Model]:
    """Makes the small network, the same each time."""
    params = spellings.resolve("models", "preact_small", {"models": {"preact_small": {**SMALL, "width": 8}}})
    return lambda: weights.build("preact_small", params, digits[0].format, Run("digits", 0))


@pytest.fixture(scope="session")
def victim(digits: tuple[Images, Images], untrained: Callable[[], Model]) -> Callable[[], Model]:
    """Makes copies of a small network trained on BadNets-poisoned digits."""
    model = untrained()
    fit(model, poisoned(digits[0]), model.recipe, Run("digits", 0))
    state = {key: value.clone() for key, value in model.network.state_dict().items()}

    def copy() -> Model:
        made = untrained()
        made.network.load_state_dict(state)
        return made.eval()

    return copy


TINY = config.read(yaml.safe_load((HERE / "config.yaml").read_text())).settings_of("digits")
TINY_TOWER = {"model": {"architecture": "test_resnet"}, "mean": [0.5] * 3, "std": [0.25] * 3}
SMALL_ENOUGH: dict[str, dict[str, Any]] = {
    "preact_resnet18": {"width": 8},
    "encoder": {"size": 32, "config": json.dumps(TINY_TOWER), "features": 96},
}
"""What is small of the architectures that are none on digits."""


def tiny(name: str, form: ImageFormat, **fields: Any) -> Model:
    """An untrained model of the catalog as digits have it, but for these fields, for images of this format."""
    below = Extractor(tiny("preact_small", form)) if catalog.describe("models", name).asks else None
    params = spellings.resolve("models", name, TINY) | SMALL_ENOUGH.get(name, {}) | fields
    return weights.build(name, params, form, Run("digits", 0), below)


Hand = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def hand(digits: tuple[Images, Images], untrained: Callable[[], Model], victim: Callable[[], Model]) -> Hand:
    """What a method is handed that asks for these names: digits, BadNets-poisoned, and networks of the small victim.

    What a field names is handed as its kind says. `changed` takes the place of the plain values.
    """
    given: dict[str, Callable[[], Any]] = {
        **dict.fromkeys(("victim", "clean_victim", "retrained", "defended"), victim),
        "model": untrained,
        "holdout": lambda: digits[0][:80],
        "poisoned_train": lambda: poisoned(digits[0]),
        "train": lambda: digits[0],
        "test": lambda: digits[1],
        "truth": lambda: secret(*digits[::-1]),
        "ratio": lambda: 0.1,
        "run": lambda: Run("digits", 0),
        "defense": lambda: quick("defenses", "clp"),
        "log": lambda: logged("clp"),
        "datasets": lambda: digits[0],
        "detectors": lambda: Scores(digits[0].index, np.zeros(400), np.arange(400) < 40),
    }

    def logged(name: str) -> pa.Table:
        run = Run("digits", 0)
        quick("defenses", name)(**handed("defenses", name, run=run))
        return run.log_table()

    def auxiliary(name: str) -> Model:
        """A victim in place of an extractor; of a network that does not classify an untrained one."""
        backbone = catalog.describe("auxiliaries", name).fields["backbone"].default
        if catalog.describe("models", backbone).traits["classifies"]:
            return victim()
        return tiny(backbone, digits[0].format).requires_grad_(False).eval()

    def handed(kind: str, name: str, **changed: Any) -> dict[str, Any]:
        described = catalog.describe(kind, name)
        own = {
            key: functools.partial(auxiliary, described.fields[key].default)
            if of_kind == "auxiliaries"
            else given[of_kind]
            for key, of_kind in described.named.items()
        }
        return {key: changed[key] if key in changed else (own | given)[key]() for key in described.asks}

    return handed


def has_features(auxiliary: str) -> bool:
    """Whether an auxiliary is a classifier, on whose features something may stand."""
    backbone = spellings.resolve("auxiliaries", auxiliary)["backbone"]
    return bool(catalog.describe("models", backbone).traits["classifies"])


def poisoned(train: Images) -> Images:
    """The images as a BadNets attacker publishes them."""
    attack = catalog.make("attacks", "badnets", {"side": 3})
    return train.replace_rows(attack(train=train, ratio=0.1, run=Run("digits", 0)).altered)


def secret(test: Images, train: Images | None = None) -> Truth:
    """What the attacker of `poisoned` keeps to himself: the triggered test images, and what he altered of `train`."""
    attack = catalog.make("attacks", "badnets", {"side": 3})
    rows, labels = attack.asr_subset(test.labels, len(test.format.classes))
    images = attack.make_trigger(test.format.shape, Run("digits", 0))(test.images[rows])
    triggered = Images(images, labels, test.index[rows], test.format)
    altered = true = np.empty(0, np.int64)
    if train is not None:
        changed = (poisoned(train).images != train.images).any((1, 2, 3))
        altered, true = train.index[changed], train.labels[changed]
    roles = np.array(["payload"] * len(altered), str)
    return Truth(triggered, test.labels[rows], roles, altered, true, None, None, None)


def is_of_record(attack: str) -> bool:
    """Whether it reads what others have made: `test_given.py` makes that."""
    return bool(catalog.describe("attacks", attack).traits.get("of_record"))


def quick(kind: str, name: str) -> Any:
    """The method with every count of epochs or steps at its least, and its networks narrow, so that the whole catalog
    runs in seconds."""
    fields = catalog.describe(kind, name).fields
    short = {key: 1 for key in fields if key in ("epochs", "steps", "rounds") or key.endswith("_epochs")}
    short |= {key: size for key, size in {"holdout_size": 80, "samples": 16, "width": 4}.items() if key in fields}
    return catalog.make(kind, name, short)


def hyper_parameters(method: Any) -> dict[str, Any]:
    """The fields of a method and their values."""
    return {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
