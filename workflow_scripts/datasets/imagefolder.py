"""Any folder of class folders, with or without a split."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError, join_names, to_printable
from workflow_scripts.common.fields import PositiveShare, Whole
from workflow_scripts.common.images import Images, stratified_order
from workflow_scripts.datasets._folders import list_classes, list_folders, tell_unread
from workflow_scripts.datasets._pictures import Pictures, Sample

TRAIN = "train"
TEST = ("test", "val", "valid", "validation")
"""What the folder of test images may be called; the first that is there is used."""


@dataclass(frozen=True)
class ImageFolder(Pictures):
    """A folder of images for each class, whose name is the class's. Classes are in the order of their names, as
    torchvision's ImageFolder has them.

    folder: has the class folders itself, or has `train/` and `test/` (or `val/`), each with class folders. Each file in
    a class folder must be an image. What lies beside the class folders, or beside these two, is not read, and the log
    names it; hidden files, and those that Windows and macOS leave there, do not count. test_share: of class folders
    alone, the share of the images that is drawn to test on, stratified by class; split_seed: by which it is drawn, the
    same split at every seed of a study.
    """

    folder: str = ""
    test_share: PositiveShare = 0.2
    split_seed: Whole = 0

    def sources(self) -> tuple[Path, ...]:
        return (Path(self.folder),)

    def missing(self) -> str:
        if os.access(f"{self.folder}/.", os.R_OK | os.X_OK):
            return ""
        return (
            f"{to_printable(self.folder)} is no folder, or may not be read; put there a folder of images for each "
            f"class, or {TRAIN}/ and {TEST[0]}/ with such folders"
        )

    def load(self) -> tuple[Images, Images]:
        if missing := self.missing():
            raise UserError(missing)
        folder = Path(self.folder)
        with files.reading(folder, "folder of images"):
            classes, train, test = self._list_halves(folder) if _is_split(folder / TRAIN) else self._draw_halves(folder)
        return self.read_files(train, test, classes)

    def _list_halves(self, folder: Path) -> tuple[list[str], list[Sample], list[Sample]]:
        """The classes, and the images of the two folders."""
        tests = [folder / name for name in TEST if _is_split(folder / name)]
        if not tests:
            raise UserError(
                f"{folder} has {TRAIN}/, but no folder {join_names(TEST)} with class folders; put one there, or name "
                f"{folder / TRAIN} as the folder, of which a share is drawn to test on"
            )
        tell_unread(folder, (TRAIN, tests[0].name))
        classes, train = _list_trained(folder / TRAIN)
        return classes, train, list_classes(tests[0], classes)

    def _draw_halves(self, folder: Path) -> tuple[list[str], list[Sample], list[Sample]]:
        """The classes, and two parts of the images of one folder. UserError if one is empty, or if no image of a class
        is left to train on."""
        classes, samples = _list_trained(folder)
        labels = np.array([label for _, label in samples])
        count = round(self.test_share * len(samples))
        order = stratified_order(labels, np.random.default_rng(self.split_seed))
        if not count:
            raise UserError(f"{folder}: test_share is {self.test_share:g}, less than one of its {len(samples)} images")
        if lost := sorted(set(labels.tolist()) - set(labels[order[count:]].tolist())):
            raise UserError(
                f"{folder}: test_share is {self.test_share:g}, which leaves class {classes[lost[0]]} without an image "
                f"to train on, of the {(labels == lost[0]).sum()} that it has"
            )
        train, test = ([samples[row] for row in sorted(rows)] for rows in (order[count:], order[:count]))
        return classes, train, test


def _is_split(folder: Path) -> bool:
    """Whether a folder has class folders; one of the same name that has images is a class."""
    return folder.is_dir() and bool(list_folders(folder))


def _list_trained(folder: Path) -> tuple[list[str], list[Sample]]:
    """The names of the class folders, and their images. UserError if there are none."""
    classes = [path.name for path in list_folders(folder)]
    if not classes:
        raise UserError(f"{folder} has no folders; it must have one of images for each class")
    return classes, list_classes(folder, classes)
