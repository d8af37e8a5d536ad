"""Folders of images: which files are images, and of which class."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError, join_names, to_printable
from workflow_scripts.common.progress import LOG
from workflow_scripts.common.sources import list_visible

READ = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm", ".pbm")
"""How the names of image files end, in small letters."""


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name. UserError if there is a link that leads nowhere, and might be to one."""
    found = list_visible(folder)
    for path in found:
        if path.is_symlink() and not path.exists():
            raise UserError(f"{path} is a link that leads nowhere; mend it, or take it away")
    return [path for path in found if path.is_dir()]


def list_images(folder: Path, known: str = "") -> list[Path]:
    """The image files in a folder, by name. UserError if there are none, or if anything else is there but what has a
    `known` name, a pattern of the shell."""
    found = []
    for path in list_visible(folder):
        if path.is_dir():
            raise UserError(f"{folder} is a folder of images, and has a folder {path.name}; it may have images only")
        if path.suffix.lower() in READ:
            found.append(path)
        elif not fnmatchcase(path.name, known):
            raise UserError(
                f"{path} is no image by its name, and would be left out; convert it to PNG, JPEG or WebP, or keep it "
                "elsewhere"
            )
    if not found:
        raise UserError(f"{folder} has no images; put some there, or take it away")
    return found


def list_classes(folder: Path, names: Sequence[str]) -> list[tuple[Path, int]]:
    """The images of the class folders in a folder, each with the place of its class among these names. UserError if a
    folder is of no such class, or has no images or anything else, or if there are images outside of them; what else is
    there, the log says."""
    refuse_images(folder)
    found = []
    for path in list_folders(folder):
        if path.name not in names:
            raise UserError(f"{path} is of no class that there is to train on: {join_names(names):.300}")
        label = names.index(path.name)
        found += [(image, label) for image in list_images(path)]
    tell_unread(folder, names)
    return found


def refuse_images(folder: Path) -> None:
    """UserError if there are images in a folder that has class folders."""
    for path in list_visible(folder):
        if path.suffix.lower() in READ and not path.is_dir():
            raise UserError(f"{path} lies in no folder of a class; move it into one")


def refuse_unlisted(folder: Path, listed: Sequence[str], where: Path, known: str = "") -> None:
    """UserError unless a list, which stands in the file `where`, names each image of a folder, and none twice."""
    there = {path.name for path in list_images(folder, known)}
    if unlisted := sorted(there - set(listed)):
        raise UserError(f"{folder / unlisted[0]} has no label in {where}, which has {len(listed)}; is it whole?")
    for name, before in zip(sorted(listed)[1:], sorted(listed), strict=False):
        if name == before:
            raise UserError(f"{where}: {name} stands there twice")


def read_lines(path: Path) -> list[str]:
    """The lines of a list in UTF-8. UserError if it is none."""
    with files.reading(path, "text"):
        return path.read_text(encoding="utf-8").splitlines()


def tell_unread(folder: Path, read: Collection[str]) -> None:
    """The log says what lies in a folder but for what is read, if there is anything."""
    if others := [path.name + "/" * path.is_dir() for path in list_visible(folder) if path.name not in read]:
        LOG.info(
            "%s: %d not read: %s", to_printable(str(folder)), len(others), to_printable(f"{join_names(others):.300}")
        )
