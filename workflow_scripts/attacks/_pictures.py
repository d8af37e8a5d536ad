"""Pictures of the user's that attacks mix in: whether they are there, asked before a run without torch; and pixels."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow_scripts.common import files
from workflow_scripts.common.decoding import decode
from workflow_scripts.common.errors import UserError, join_names

if TYPE_CHECKING:
    from PIL.Image import Image

DRAWN = "drawn"
"""What a field says that names no picture: the attack draws its own."""
PICTURES = Path("data/pictures")


def find_missing(traits: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """Why an attack of these traits and fields cannot have its pictures, in a line; nothing if it can, or needs none.
    Its trait `pictures` says which of its fields name one."""
    for key in traits.get("pictures", ()):
        try:
            if fields[key] != DRAWN:
                read_picture(fields[key])
        except UserError as error:
            return str(error)
    return ""


def read_picture(name: str) -> "Image":
    """The image of this name in `data/pictures/`, gray or RGB. UserError if there is none, or more than one."""
    named = list_pictures()
    found = [path for path in named if path.stem == name]
    if len(found) != 1:
        reason = "are several images" if found else "is no image"
        there = join_names(sorted({DRAWN, *(path.stem for path in named)}))
        raise UserError(f"picture is {name!r}, of which there {reason} in {PICTURES}; there are: {there}")
    with files.reading(found[0], "image"):
        data = found[0].read_bytes()
    try:
        return decode(data)
    except UserError as error:
        raise UserError(f"{found[0]} {error}") from None


def list_pictures() -> list[Path]:
    """The files there, by name, but for hidden ones; none where there is no such folder."""
    with files.reading(PICTURES, "folder"):
        return sorted(path for path in PICTURES.glob("[!.]*") if path.is_file())


def scale(picture: "Image", shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (H, W, C) of a picture, bilinear and antialiased."""
    from PIL import Image

    height, width, channels = shape
    small = picture.convert("RGB" if channels == 3 else "L").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small).reshape(height, width, channels)
