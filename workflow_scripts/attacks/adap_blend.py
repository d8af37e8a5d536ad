"""Revisiting the Assumption of Latent Separability for Backdoor Defenses: Adaptive-Blend."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.attacks import Trigger, to_uint8
from workflow_scripts.attacks._covers import AdaptivePoison
from workflow_scripts.attacks._pictures import find_picture
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Count, PositiveShare
from workflow_scripts.common.run import Run


@dataclass(frozen=True)
class AdaptiveBlend(AdaptivePoison):
    """Blended's picture, in training only pieces of it, drawn anew for each image, and fainter (see `AdaptivePoison`).
    The paper's ratio is 0.003.

    pieces: a side, into which the image is cut; shown: the share of them that an image shows in training, rounded to
    whole pieces. alpha: the picture's share at test time, train_alpha: in training. picture: as of `blended`.

    Difference: rounded to whole gray levels, which the official code does not do; sides need not be multiples of
    `pieces`.
    """

    train_alpha: PositiveShare = 0.15
    alpha: PositiveShare = 0.2
    pieces: Count = 4
    shown: PositiveShare = 0.5
    picture: str = "drawn"

    pictures = ("picture",)

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        if not round(self.shown * self.pieces**2):
            raise UserError(f"adap_blend: shown is {self.shown:g}, less than one of its {self.pieces**2} pieces")
        picture = find_picture(self.picture, shape)
        return lambda images: blend(images, picture, np.float32(self.alpha))

    def weaken(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width, _ = shape = images.shape[1:]
        count = self.pieces**2
        kept = rng.random((len(images), count)).argsort(1) < round(self.shown * count)
        rows, columns = (np.arange(side) * self.pieces // side for side in (height, width))
        masks = kept[:, rows[:, None] * self.pieces + columns]
        return blend(images, find_picture(self.picture, shape), self.train_alpha * masks[..., None].astype(np.float32))


def blend(images: np.ndarray, picture: np.ndarray, share: np.ndarray | np.float32) -> np.ndarray:
    """uint8 (N, H, W, C) with this share of the picture, everywhere or at each pixel (N, H, W, 1)."""
    values = images.astype(np.float32)
    return to_uint8(values + share * (picture - values))
