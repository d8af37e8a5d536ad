"""BackdoorBench's own training loop on the same poisoned images: its data set, its transforms, its trainer."""

import importlib
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.setting import Row, Setting
from workflow_scripts.attacks.badnets import BadNets
from workflow_scripts.common.images import Images

WORKERS = 4
"""As its configurations have it."""
FIXED = Namespace(client_optimizer="sgd", lr=0.01, sgd_momentum=0.9, wd=5e-4, lr_scheduler="CosineAnnealingLR")
"""Its recipe for CIFAR-10."""


class Pictures(torch.utils.data.Dataset[tuple[Image.Image, int]]):
    """Images as torchvision's CIFAR-10 gives them."""

    def __init__(self, data: Images):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        pixels = self.data.images[row]
        return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()), int(self.data.labels[row])


def open_checkout(checkout: str) -> None:
    """From here on the packages of a checkout of BackdoorBench can be imported."""
    sys.path.insert(0, str(Path(checkout).resolve()))


def measure(setting: Setting) -> Iterator[Row]:
    """Images/s of whole epochs, the first one left out, in which its workers start and the device warms up."""
    if not setting.backdoorbench:
        yield {"skipped": "no checkout of BackdoorBench was named"}
        return
    open_checkout(setting.backdoorbench)
    torch.backends.cudnn.deterministic = True  # as its scripts set it
    for size in (32,) if setting.tiny else (128, 512):
        trainer, seconds = make_trainer(setting, size), []
        for _ in range(3):
            started = time.perf_counter()
            trainer.train_one_epoch_on_mix(verbose=1)
            seconds.append(time.perf_counter() - started)
        images = size * trainer.batch_num_per_epoch
        yield {"batch": size, "workers": trainer.train_dataloader.num_workers, "images/s": images / median(seconds[1:])}


def make_trainer(setting: Setting, size: int) -> Any:
    """Its trainer, as its scripts set it up, in float32."""
    of = importlib.import_module
    block = "utils.aggregate_block"
    network = of("models.preact_resnet").PreActResNet18(num_classes=len(setting.train.format.classes))
    optimizer, scheduler = of(f"{block}.train_settings_generate").argparser_opt_scheduler(network, FIXED)
    transform = of(f"{block}.dataset_and_transform_generate").get_transform("cifar10", 32, 32, train=True)
    wrapper = of("utils.bd_dataset_v2").dataset_wrapper_with_transform
    trainer = of("utils.trainer_cls").BackdoorModelTrainer(network)
    trainer.set_with_dataset(
        wrapper(poison(setting), transform, None),
        {},
        size,
        torch.nn.CrossEntropyLoss(),
        optimizer,
        scheduler,
        setting.run.device,
        0,
        str(setting.folder),
        "official",
        prefetch=False,
        num_workers=0 if setting.tiny else WORKERS,
    )
    return trainer


def poison(setting: Setting) -> Any:
    """Its data set of the images of `speed_images`, of which those that BadNets alters lie on disk, as it has them."""
    data = setting.speed_images[:64] if setting.tiny else setting.speed_images
    altered = BadNets()(train=data, ratio=0.1, run=setting.run).altered
    pictures, places = Pictures(altered), {int(index): row for row, index in enumerate(altered.index)}
    chosen = np.isin(data.index, altered.index).astype(int)
    return importlib.import_module("utils.bd_dataset_v2").prepro_cls_DatasetBD_v2(
        Pictures(data),
        chosen,
        lambda image, target, image_serial_id: pictures[places[int(data.index[image_serial_id])]][0],
        lambda label: 0,
        str(setting.folder / "official"),
    )
