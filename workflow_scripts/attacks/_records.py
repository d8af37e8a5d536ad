"""What others have poisoned, in `data/records/`: where a part stands, which images it alters, their pixels."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError

RECORDS = Path("data/records")
TRAIN, TEST, WEIGHTS = "bd_train_dataset", "bd_test_dataset", "model.safetensors"
"""What stands in the folder of a record: BackdoorBench's names of the altered images, and a victim's weights."""
NUMBER = re.compile(r"[0-9]{1,9}")


def find_part(record: str, part: str) -> Path:
    """Where a part of a record stands."""
    return RECORDS / record / part


class Altered(NamedTuple):
    """Images that were altered, in the order of their places in the data set: these, their true labels, the files."""

    places: np.ndarray
    labels: np.ndarray
    paths: np.ndarray

    def take(self, chosen: np.ndarray) -> "Altered":
        """Those where the mask is true."""
        return Altered(*(part[chosen] for part in self))


def list_images(folder: Path) -> Altered:
    """The files `folder/CLASS/PLACE.png`. UserError if one is not called so, if two are of one place, or if there are
    none."""
    found: dict[int, Path] = {}
    with files.reading(folder, "folder"):
        paths = sorted(path for path in folder.glob("*/[!.]*") if path.is_file())
    for path in paths:
        if not (NUMBER.fullmatch(path.stem) and NUMBER.fullmatch(path.parent.name)):
            raise UserError(f"{path}: it must be called CLASS/PLACE.png, of two numbers")
        if (other := found.setdefault(int(path.stem), path)) != path:
            raise UserError(f"{path}: {other} is of the same place")
    if not found:
        raise UserError(f"{folder}: it holds no image; there must be some, called CLASS/PLACE.png")
    places = sorted(found)
    labels = [int(found[place].parent.name) for place in places]
    own = np.array([found[place] for place in places], object)
    return Altered(np.array(places, np.int64), np.array(labels, np.int64), own)


def check_originals(altered: Altered, labels: np.ndarray) -> None:
    """UserError if an image of the data set has another than its true label: then the order or the set is another."""
    for place, label, path in zip(*altered, strict=True):
        if place >= len(labels) or labels[place] != label:
            known = f"is of class {labels[place]}" if place < len(labels) else f"is not there, of {len(labels)}"
            raise UserError(f"{path}: image {place} of the data set {known}: it is another set, or in another order")


def read_pixels(paths: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (N, H, W, C) of these files. UserError if one is no image, or of another size."""
    from workflow_scripts.datasets._pictures import Pictures, read_bytes

    cells = ((str(path), read_bytes(path)) for path in paths)
    images = Pictures(channels="gray" if shape[2] == 1 else "rgb").gather(cells, range(len(paths)))
    if images.shape[1:] != shape:
        sizes = [f"{width}x{height}" for height, width in (images.shape[1:3], shape[:2])]
        raise UserError(f"{paths[0]} is of {sizes[0]} pixels, the data set's images of {sizes[1]}")
    return images


def check_ratio(count: int, total: int, ratio: float, folder: Path) -> None:
    """UserError if a study calls the share of altered images something else."""
    if abs(count - ratio * total) >= 1:
        raise UserError(
            f"{folder} holds {count} altered images of {total}, and the study says ratio {ratio:g}; it must say "
            f"{count / total:.6g}"
        )
