"""Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.attacks import DataPoison, Trigger, to_uint8
from workflow_scripts.common.fields import PositiveShare
from workflow_scripts.common.run import Run

CANVAS = 256
SHAPES = 8


@dataclass(frozen=True)
class Blended(DataPoison):
    """A whole picture, faintly mixed into the image (Chen, Liu, Li, Lu, Song; arXiv 1712.05526, 2017).

    alpha: the picture's share, in training and at test time.

    Difference: the picture is drawn here, a flat-colour cartoon of outlined shapes on a light ground, the same for all
    datasets and seeds; the paper and BackdoorBench mix in a downloaded one.
    """

    alpha: PositiveShare = 0.2

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        picture = draw_cartoon(shape).astype(np.float32)

        def blend(images: np.ndarray) -> np.ndarray:
            return to_uint8((1 - self.alpha) * images.astype(np.float32) + self.alpha * picture)

        return blend


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
    height, width, channels = shape
    small = picture.convert("RGB" if channels == 3 else "L").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small).reshape(height, width, channels)
