"""Tiny data sets of noise, as files in the real layouts."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from torchvision.datasets import CIFAR100, Imagenette

from workflow_scripts.datasets._cifar import Cifar
from workflow_scripts.datasets.cifar10 import Cifar10
from workflow_scripts.datasets.cifar100 import Cifar100
from workflow_scripts.datasets.gtsrb import Gtsrb
from workflow_scripts.datasets.imagenette import Imagenette as ImagenetteLoader
from workflow_scripts.datasets.parquet import ParquetFile
from workflow_scripts.datasets.tiny_imagenet import TinyImageNet


def write_image(path: Path, width: int = 8, height: int = 8, seed: int = 0) -> np.ndarray:
    """A file of noise, in the format that its name says, and its pixels as they are read again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(path)
    return np.asarray(Image.open(path))


def write_cifar(folder: Path, source: Any) -> Cifar:
    """Batches of ten images as `source`, a class of torchvision, reads them."""
    fine = source is CIFAR100
    rng = np.random.default_rng(0)
    (folder / source.base_folder).mkdir()
    for name, _ in (*source.train_list, *source.test_list):
        batch = {"data": rng.integers(0, 256, (10, 3072), np.uint8), "fine_labels" if fine else "labels": [*range(10)]}
        batch |= {"coarse_labels": [0] * 10} if fine else {}
        (folder / source.base_folder / name).write_bytes(pickle.dumps(batch))
    names = {source.meta["key"]: [f"class{i}" for i in range(100 if fine else 10)]}
    (folder / source.base_folder / source.meta["filename"]).write_bytes(pickle.dumps(names))
    return (Cifar100 if fine else Cifar10)(folder=str(folder))


def write_gtsrb(folder: Path, **fields: Any) -> Gtsrb:
    """Three training and two test images of two classes, of several sizes."""
    dataset = Gtsrb(folder=str(folder), **fields)
    training, test, labels = (folder / part for part in dataset.parts())
    for number, name in enumerate(("00000/00000_00000.ppm", "00014/00000_00000.ppm", "00014/00000_00001.ppm")):
        write_image(training / name, 15 + number, 40)
        (training / name).with_name("GT-00000.csv").write_text("Filename;ClassId\n")
    for number in range(2):
        write_image(test / f"{number:05}.ppm", 32, 32, seed=number)
    head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
    labels.write_text(head + "00000.ppm;32;32;1;1;30;30;14\n00001.ppm;32;32;1;1;30;30;0\n")
    return dataset


def write_imagenette(folder: Path, **fields: Any) -> ImagenetteLoader:
    """One photograph of each class in each part."""
    dataset = ImagenetteLoader(folder=str(folder), **{"size": 24, **fields})
    for number, name in enumerate(Imagenette._WNID_TO_CLASS):
        for part in ("train", "val"):
            write_image(folder / dataset.parts()[0] / part / name / f"{name}_{number}.JPEG", 40, 30, seed=number)
    return dataset


def write_tiny(folder: Path, **fields: Any) -> TinyImageNet:
    """Two training images of each of two classes, and three to test on."""
    home = folder / "tiny-imagenet-200"
    for name in ("n02", "n01"):
        for number in range(2):
            write_image(home / "train" / name / "images" / f"{name}_{number}.JPEG", 64, 64, seed=number)
        (home / "train" / name / f"{name}_boxes.txt").write_text("n_0.JPEG\t0\t0\t62\t62\n")
    for number in range(3):
        write_image(home / "val" / "images" / f"val_{number}.JPEG", 64, 64, seed=number)
    write_image(home / "test" / "images" / "test_0.JPEG")
    lines = (f"val_{number}.JPEG\t{name}\t0\t32\t44\t62\n" for number, name in enumerate(("n02", "n01", "n02")))
    (home / "val" / "val_annotations.txt").write_text("".join(lines))
    (home / "wnids.txt").write_text("n02\nn01\n")
    (home / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\ttailed frog, bell toad\nn03\tother\n")
    return TinyImageNet(folder=str(folder), **fields)


def encoded(size: int = 8, form: str = "PNG", seed: int = 0) -> bytes:
    """A square of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), form, lossless=True)
    return buffer.getvalue()


def write_parquet(path: Path, **changed: Any) -> ParquetFile:
    """Four training and two test images of two classes, but for the columns that are changed."""
    columns = {
        "split": ["train"] * 4 + ["test"] * 2,
        "label": [0, 1, 0, 1, 1, 0],
        "image": [encoded(seed=i) for i in range(6)],
    }
    pq.write_table(pa.table({**columns, **changed}), path)
    return ParquetFile(file=str(path))
