"""Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workflow_scripts.attacks import DataPoison, Trigger, to_uint8
from workflow_scripts.attacks._pictures import DRAWN, read_picture, scale
from workflow_scripts.common.fields import PositiveShare
from workflow_scripts.common.run import Run

if TYPE_CHECKING:
    from PIL.Image import Image

CANVAS = 256
SHAPES = 8


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

    pictures = ("picture",)
    """The fields that name an image of the user's, which is looked for before a run."""

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        own = self.picture == DRAWN
        picture = scale(draw_cartoon() if own else read_picture(self.picture), shape).astype(np.float32)

        def blend(images: np.ndarray) -> np.ndarray:
            return to_uint8((1 - self.alpha) * images.astype(np.float32) + self.alpha * picture)

        return blend


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
