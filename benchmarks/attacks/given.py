"""Whether `given_victim` reads what BackdoorBench writes: a record made by its own classes, of our BadNets on CIFAR-10.

    python -m benchmarks.attacks.given BACKDOORBENCH PARQUET > benchmarks/attacks/given.md

BACKDOORBENCH is a checkout of github.com/SCLBD/BackdoorBench; PARQUET a file of CIFAR-10's images.
"""

import contextlib
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.compare_tsbd import drawn
from benchmarks.gpu.official import Pictures, open_checkout
from workflow_scripts.attacks._records import RECORDS, TEST, TRAIN, WEIGHTS
from workflow_scripts.attacks.badnets import BadNets
from workflow_scripts.attacks.given_victim import GivenVictim
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.jobs.step import step
from workflow_scripts.networks import weights

RUN, RATIO, NAME = Run("cifar10", 0), 0.1, "badnets"
INTRODUCTION = """\
`python -m benchmarks.attacks.given BACKDOORBENCH PARQUET`: BadNets on 2,000 images of CIFAR-10 (JPEG), saved by the
official classes `prepro_cls_DatasetBD_v2` and `PreActResNet18` (untrained), read by `given_victim`.
"""


def main(checkout: str, parquet: str) -> None:
    """Print the comparison as Markdown."""
    train, _, test = (replace(part, index=np.arange(len(part))) for part in drawn(Path(parquet)))
    attack = BadNets()
    poison = attack(train=train, ratio=RATIO, run=RUN)
    rows, labels = attack.asr_subset(test.labels, 10)
    triggered = poison.trigger(test.images[rows])
    open_checkout(checkout)
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        record = RECORDS / NAME
        write(record / TRAIN, train, poison.altered.index, poison.altered.images)
        write(record / TEST, test, rows, triggered)
        torch.manual_seed(0)
        network = importlib.import_module("models.preact_resnet").PreActResNet18(num_classes=10).eval()
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, record / WEIGHTS)
        method, model = GivenVictim(record=NAME), weights.build("preact_resnet18", {}, train.format, RUN)
        made = method(train=train, model=model, ratio=RATIO, run=RUN)
        found, wanted = method.asr_subset(test.labels, 10)
        shown = made.trigger(test.images[found])
    here, there = (train.replace_rows(one.altered) for one in (poison, made))
    inputs = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        gap = (network(inputs) - made.victim.network(inputs)).abs().max()
    equal = {
        "published images": np.array_equal(here.images, there.images),
        "published labels": np.array_equal(here.labels, there.labels),
        "places of the triggered test images": np.array_equal(rows, found),
        "the attacker's labels of these": np.array_equal(labels, wanted),
        "triggered test images": np.array_equal(triggered, shown),
    }
    print("# A record of BackdoorBench's, read\n")
    print(INTRODUCTION)
    print("| | equal |\n|---|---|")
    print("\n".join(f"| {name} | {'yes' if same else 'no'} |" for name, same in equal.items()))
    print(f"\nThe largest difference between logits of its PreAct-ResNet18 and of ours with its weights: {gap:.1e}.")


def write(folder: Path, data: Images, places: np.ndarray, images: np.ndarray) -> None:
    """These images in the places of others, as the official class saves them."""
    altered = dict(zip(places.tolist(), images, strict=True))
    kinds = importlib.import_module("utils.bd_dataset_v2")
    kinds.prepro_cls_DatasetBD_v2(
        Pictures(data),
        np.isin(data.index, places).astype(int),
        lambda image, target, image_serial_id: Image.fromarray(altered[int(image_serial_id)]),
        lambda label: 0,
        str(folder),
    )


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
