"""Pictures that attacks mix in, the user's and a drawn one; read without torch."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workflow_scripts.common import files
from workflow_scripts.common.decoding import decode
from workflow_scripts.common.errors import UserError, join_names

if TYPE_CHECKING:
    from PIL.Image import Image

DRAWN = "drawn"
"""What a field says that names no picture: the attack draws its own."""
PICTURES = Path("data/pictures")
CANVAS = 256
SHAPES = 8


def find_picture(name: str, shape: tuple[int, int, int]) -> np.ndarray:
    """float32 (H, W, C), of 255: the drawn picture, or that of this name. UserError as of `read_picture`."""
    return scale(draw_cartoon() if name == DRAWN else read_picture(name), shape).astype(np.float32)


def read_picture(name: str) -> "Image":
    """The image of this name in `data/pictures/`, gray or RGB. UserError if there is none, or more than one."""
    found = list_named(name)
    if len(found) != 1:
        reason = "are several images" if found else "is no image"
        there = join_names(sorted({DRAWN, *(path.stem for path in list_pictures())}))
        raise UserError(f"picture is {name!r}, of which there {reason} in {PICTURES}; there are: {there}")
    with files.reading(found[0], "image"):
        data = found[0].read_bytes()
    try:
        return decode(data)
    except UserError as error:
        raise UserError(f"{found[0]} {error}") from None


def list_named(name: str) -> list[Path]:
    """The files of this name there: one, if all is well."""
    return [path for path in list_pictures() if path.stem == name]


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


def draw_cartoon() -> "Image":
    """RGB, 256 pixels a side: strong hues in large flat regions, outlines two pixels wide, the full range of values."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(20171215)
    picture = Image.new("RGB", (CANVAS, CANVAS), (255, 250, 225))
    pen = ImageDraw.Draw(picture)
    for number in range(SHAPES):
        left, top = (int(v) for v in rng.integers(-20, CANVAS - 70, 2))
        wide, high = (int(v) for v in rng.integers(60, 140, 2))
        hue = tuple(int(255 * v) for v in rng.permutation([0.0, rng.uniform(0, 1), 1.0]))
        draw = pen.ellipse if number % 2 else pen.rectangle
        draw((left, top, left + wide, top + high), fill=hue, outline=(0, 0, 0), width=2)
    return picture
