"""Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.attacks import DataPoison, Trigger, to_uint8
from workflow_scripts.attacks._pictures import find_picture
from workflow_scripts.common.fields import PositiveShare
from workflow_scripts.common.run import Run


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
        picture = find_picture(self.picture, shape)

        def blend(images: np.ndarray) -> np.ndarray:
            return to_uint8((1 - self.alpha) * images.astype(np.float32) + self.alpha * picture)

        return blend
