"""Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workflow_scripts.attacks import DataPoison, Trigger, to_uint8
from workflow_scripts.common import files
from workflow_scripts.common.decoding import decode
from workflow_scripts.common.errors import UserError, join_names
from workflow_scripts.common.fields import PositiveShare
from workflow_scripts.common.run import Run

if TYPE_CHECKING:
    from PIL.Image import Image

CANVAS = 256
SHAPES = 8
DRAWN = "drawn"
PICTURES = Path("data/pictures")


@dataclass(frozen=True)
class Blended(DataPoison):
    """A whole picture, faintly mixed into the image (Chen, Liu, Li, Lu, Song; arXiv 1712.05526, 2017).

    alpha: the picture's share, in training and at test time. picture: `drawn`, or the name of an image in
    `data/pictures/`, without what stands behind its last dot; scaled to the images, whatever its sides' ratio.

    Difference: `drawn` is a flat-color cartoon of outlined shapes on a light ground, the same for all datasets and
    seeds; the paper and BackdoorBench mix in a downloaded one.
    """

    alpha: PositiveShare = 0.2
    picture: str = "drawn"

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        picture = find_picture(self.picture, shape)

        def blend(images: np.ndarray) -> np.ndarray:
            return to_uint8((1 - self.alpha) * images.astype(np.float32) + self.alpha * picture)

        return blend


def find_missing(picture: str) -> str:
    """Why there is no picture of this name, and what there is, in a line; nothing if there is. Asked before a run."""
    names = [path.stem for path in _list_pictures()]
    if picture == DRAWN or names.count(picture) == 1:
        return ""
    found = "are several images" if picture in names else "is no image"
    there = join_names(sorted({DRAWN, *names}))
    return f"picture is {picture!r}, of which there {found} in {PICTURES}; there are: {there}"


def find_picture(name: str, shape: tuple[int, int, int]) -> np.ndarray:
    """float32 (H, W, C), of 255: the drawn picture, or that of this name. UserError as of `read_picture`."""
    return (draw_cartoon(shape) if name == DRAWN else read_picture(name, shape)).astype(np.float32)


def read_picture(name: str, shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (H, W, C): the image of this name in `data/pictures/`. UserError if there is none, or more than one."""
    if missing := find_missing(name):
        raise UserError(missing)
    (path,) = (path for path in _list_pictures() if path.stem == name)
    with files.reading(path, "image"):
        data = path.read_bytes()
    try:
        return scale_picture(decode(data), shape)
    except UserError as error:
        raise UserError(f"{path} {error}") from None


def _list_pictures() -> list[Path]:
    """The files there, by name, but for hidden ones; none where there is no such folder."""
    return sorted(path for path in PICTURES.glob("[!.]*") if path.is_file())


def draw_cartoon(shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (H, W, C): strong hues in large flat regions, outlines two pixels wide, the full range of values."""
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
    return scale_picture(picture, shape)


def scale_picture(picture: "Image", shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (H, W, C) of a picture, bilinear and antialiased."""
    from PIL import Image

    height, width, channels = shape
    small = picture.convert("RGB" if channels == 3 else "L").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small).reshape(height, width, channels)
