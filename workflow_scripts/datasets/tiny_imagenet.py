"""Tiny ImageNet, in the layout of its archive."""

from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Whole
from workflow_scripts.common.images import Images
from workflow_scripts.datasets._download import Published
from workflow_scripts.datasets._folders import (
    list_classes,
    list_folders,
    list_images,
    read_lines,
    refuse_images,
    refuse_unlisted,
)
from workflow_scripts.datasets._pictures import Pictures, Sample, standardize

HOME = "tiny-imagenet-200"


@dataclass(frozen=True)
class TinyImageNet(Pictures, Published):
    """200 classes of ImageNet at 64x64 pixels (Stanford's CS231N, 2015): 100,000 images to train; the 10,000 of `val/`,
    which have labels, to test on. Normalized as BackdoorBench does, and like there classes are in the order of their
    WordNet numbers.

    folder: where `tiny-imagenet-200/` lies; it is not downloaded. The images of its `val/` may lie in class folders,
    where BackdoorBench moves them.
    """

    size: Whole = 64

    title = "Tiny ImageNet"

    def parts(self) -> tuple[str, ...]:
        return (f"{HOME}/train", f"{HOME}/val")

    def remedy(self) -> str:
        place = Path(self.folder, HOME)
        return f"Unzip {HOME}.zip from http://cs231n.stanford.edu/{HOME}.zip so that {place}/train and /val are there"

    def load(self) -> tuple[Images, Images]:
        home = Path(self.folder, HOME)
        with self.explaining():
            numbers = [path.name for path in list_folders(home / "train")]
            train = _list_training(home / "train", numbers)
            test = _list_test(home / "val", numbers)
            classes = _read_names(home / "words.txt", numbers)
        images = self.read_files(train, test, classes)
        return standardize(images, (0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))


def _list_training(folder: Path, numbers: list[str]) -> list[Sample]:
    refuse_images(folder)
    samples = []
    for label, number in enumerate(numbers):
        refuse_images(folder / number)
        samples += [(image, label) for image in list_images(folder / number / "images")]
    return samples


def _list_test(folder: Path, numbers: list[str]) -> list[Sample]:
    """The images that `val_annotations.txt` names, with their labels, or those of class folders where there is none."""
    annotations = folder / "val_annotations.txt"
    if not annotations.exists():
        return list_classes(folder, numbers)
    samples = []
    for number, line in enumerate(read_lines(annotations), 1):
        name, _, rest = line.partition("\t")
        label = rest.partition("\t")[0]
        if label not in numbers:
            raise UserError(f"{annotations}: line {number} names no class that has a folder in train/: {line!r:.60}")
        samples.append((folder / "images" / name, numbers.index(label)))
    refuse_unlisted(folder / "images", [path.name for path, _ in samples], annotations)
    return samples


def _read_names(file: Path, numbers: list[str]) -> list[str]:
    """The first word that WordNet has for each number; the number itself where there is no such file."""
    lines = read_lines(file) if file.exists() else []
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return [words.get(number, number).partition(",")[0] for number in numbers]
