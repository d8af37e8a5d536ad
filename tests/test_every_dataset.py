"""Each auxiliary that the pipeline trains, on a tiny form of each data set by its settings there, and planned on it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from checkout import HERE, copy_of_checkout, planned, pretend, shortened
from conftest import has_features
from layouts import write_cifar, write_gtsrb, write_image, write_imagenette, write_parquet, write_tiny
from torchvision.datasets import CIFAR10, CIFAR100

from workflow_scripts.common import catalog, config, spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.datasets import Dataset
from workflow_scripts.datasets.digits import Digits
from workflow_scripts.datasets.imagefolder import ImageFolder
from workflow_scripts.datasets.imagenette import Imagenette as ImagenetteLoader
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import penultimate

CONFIG = config.read(yaml.safe_load((HERE / "config.yaml").read_text()))
TRAINED = [
    name for name in catalog.list_methods("auxiliaries") if not catalog.describe("auxiliaries", name).traits["seedless"]
]
SHORT = {"epochs": 1, "batch_size": 16, "width": 8}
"""Of an auxiliary and of the network that it trains."""


def write_photographs(folder: Path) -> ImageFolder:
    """Four of each of two classes, of several sizes, read at an odd one."""
    for name in ("cat", "dog"):
        for number in range(4):
            write_image(folder / name / f"{number}.png", 40 + number, 35, seed=number)
    return ImageFolder(folder=str(folder), size=31)


SETS: dict[str, tuple[str, Callable[[Path], Dataset]]] = {
    "cifar10": ("cifar10", lambda folder: write_cifar(folder, CIFAR10)),
    "cifar100": ("cifar100", lambda folder: write_cifar(folder, CIFAR100)),
    "gtsrb": ("gtsrb", write_gtsrb),
    "gtsrb in gray": ("gtsrb", lambda folder: write_gtsrb(folder, channels="gray")),
    "tiny_imagenet": ("tiny_imagenet", write_tiny),
    "imagenette": ("imagenette", lambda folder: write_imagenette(folder, size=ImagenetteLoader.size)),
    "imagefolder": ("imagefolder", write_photographs),
    "parquet": ("parquet", lambda folder: write_parquet(folder / "a.parquet")),
    "parquet in gray": ("parquet", lambda folder: replace(write_parquet(folder / "a.parquet"), channels="gray")),
    "digits": ("digits", lambda folder: Digits()),
}
"""A loader, which is the name of the settings too, and what writes its files."""


@pytest.fixture(scope="module")
def images_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Images]:
    """The first of the training images of a data set, read once."""
    read: dict[str, Images] = {}

    def images(name: str) -> Images:
        if name not in read:
            read[name] = SETS[name][1](tmp_path_factory.mktemp("data")).prepare(Run("mine", 0))[0][:40]
        return read[name]

    return images


def test_every_loader_is_among_them() -> None:
    assert {loader for loader, _ in SETS.values()} == set(catalog.list_methods("datasets"))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("auxiliary", TRAINED)
def test_an_auxiliary_trains_on_every_dataset(
    auxiliary: str, name: str, images_of: Callable[[str], Images], no_sums: None, run: Run
) -> None:
    images, settings, asks = images_of(name), CONFIG.settings_of(SETS[name][0]), ("auxiliaries", auxiliary)
    chosen = spellings.resolve(*asks, settings)
    chosen |= {key: value for key, value in SHORT.items() if key in chosen}
    network = spellings.resolve("models", chosen["backbone"], settings) | SHORT
    untrained, model = (weights.build(chosen["backbone"], network, images.format, run) for _ in range(2))
    attack = catalog.make("attacks", "badnets", {})
    published = images.replace_rows(attack(train=images, ratio=0.5, run=run).altered)
    given = {"train": images, "poisoned_train": published, "model": model, "run": run}
    trained = catalog.make(*asks, chosen)(**{key: given[key] for key in catalog.describe(*asks).asks})
    shown = torch.from_numpy(images.images).permute(0, 3, 1, 2)
    with torch.no_grad():
        before, after = (penultimate(part.eval(), shown) for part in (untrained, trained))
    assert torch.isfinite(after).all() and after.std(0).max() > 1e-5 and not torch.allclose(before, after)
    assert len(after) == len(images) and "diverged" not in run.notes


@pytest.mark.parametrize("name", SETS)
def test_messages_can_be_written_into_every_dataset(
    name: str, images_of: Callable[[str], Images], no_sums: None, run: Run
) -> None:
    images = images_of(name)
    params = spellings.resolve("models", "stego", CONFIG.settings_of(SETS[name][0])) | {"bits": 4, "width": 4}
    model = weights.build("stego", params, images.format, run)
    encoder = catalog.make("auxiliaries", "stego_encoder", {"steps": 2, "batch_size": 8})(
        train=images, model=model, run=run
    )
    attack = catalog.make("attacks", "ssba", {})
    poison = attack(train=images, stego_encoder=encoder, ratio=0.5, run=run)
    assert poison.altered.images.shape == (round(len(images) / 2), *images.format.shape)


def test_every_auxiliary_can_be_planned_on_every_dataset(tmp_path: Path) -> None:
    folder = copy_of_checkout(tmp_path)
    write_photographs(folder / "data/photographs")
    write_parquet(folder / "data/a.parquet")
    mine = {"loader": "parquet", "file": "data/a.parquet", "channels": "auto"}
    photographs = {"loader": "imagefolder", "folder": "data/photographs", "size": 31}
    text = shortened() | {"studies": ["extractors"]}
    text["datasets"] |= {"mine": mine, "photographs": photographs}
    (folder / "config.yaml").write_text(yaml.safe_dump(text))
    pretend(folder, config.read(text))
    auxiliaries = list(filter(has_features, catalog.list_methods("auxiliaries")))
    grid = {
        "dataset": list(text["datasets"]),
        "model": {"probe": {"extractor": auxiliaries}},
        "attack": "badnets",
        "ratio": 0.1,
        "seed": 0,
        "defense": "none",
    }
    study = {"grid": grid, "table": {"rows": ["dataset", "model"], "columns": "defense"}}
    (folder / "studies/extractors.yaml").write_text(yaml.safe_dump(study))
    jobs = planned(folder)
    published = {name for name in TRAINED if "poisoned_train" in catalog.describe("auxiliaries", name).asks}
    assert {entry["loader"] for entry in text["datasets"].values()} == set(catalog.list_methods("datasets"))
    assert jobs["train_auxiliary"] == len(text["datasets"]) * (len(auxiliaries) - len(published))
    assert jobs["train_poisoned_auxiliary"] == 2 * len(text["datasets"]) * len(published), "and of the clean model"
    assert jobs["evaluate"] == 3 * len(text["datasets"]) * len(auxiliaries)
