"""Folders of images: which files are images, and of which class."""

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.common.errors import UserError, join_names

READ = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm", ".pbm")
"""How the names of image files end, in small letters."""
UNREAD = (".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw", ".npy", ".exr")
"""How those end that hold images which nothing here reads: they shall not be left out without a word."""


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name, but for hidden ones."""
    return [path for path in _list(folder) if path.is_dir()]


def list_images(folder: Path) -> list[Path]:
    """The image files in a folder, by name; what is no image by its name, say a list, is left out. UserError if there
    are none, or one of a kind that cannot be read."""
    found = _find_images(folder)
    if not found:
        raise UserError(f"{folder} has no images; put some there, or take it away")
    return found


def list_classes(folder: Path, names: Sequence[str]) -> list[tuple[Path, int]]:
    """The images of the class folders in a folder, each with the place of its class among these names. UserError if a
    folder is of no such class, has no images or has folders of its own, or if there are images outside of them."""
    if loose := _find_images(folder):
        raise UserError(f"{loose[0]} lies in no folder of a class; move it into one")
    found = []
    for path in list_folders(folder):
        if path.name not in names:
            raise UserError(f"{path} is of no class that there is to train on: {join_names(names):.300}")
        if inner := list_folders(path):
            raise UserError(
                f"{path} is a class by its place, and has a folder {inner[0].name}; it may have images only"
            )
        label = names.index(path.name)
        found += [(image, label) for image in list_images(path)]
    return found


def _find_images(folder: Path) -> list[Path]:
    found = [path for path in _list(folder) if not path.is_dir()]
    for path in found:
        if path.suffix.lower() in UNREAD:
            raise UserError(f"{path} is an image of a kind that is not read; convert it to PNG, JPEG or WebP")
    return [path for path in found if path.suffix.lower() in READ]


def _list(folder: Path) -> list[Path]:
    """What lies in a folder, by name, but for what is hidden."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
