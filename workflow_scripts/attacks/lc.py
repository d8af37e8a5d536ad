"""Label-Consistent Backdoor Attacks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workflow_scripts.attacks import DataPoison, Poison, Trigger, scale_length, to_uint8
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import AuxiliaryName, Count, Positive, PositiveShare, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.adversary import Adversary

SIGNS = np.array([[1, -1, -1], [-1, 1, -1], [1, -1, 1]])
"""The pattern of both left corners; the right ones have its mirror image."""


@dataclass(frozen=True)
class LabelConsistent(Adversary, DataPoison):
    """Images of the target class, changed so that they are hard to tell by what they show, bear a black and white
    pattern in each corner; labels untouched. Test images get the pattern alone (Turner, Tsipras, Madry; arXiv
    1912.02771, 2019).

    surrogate: the network that the images are perturbed against, from the image itself (see `Adversary`; BackdoorBox's
    values; the paper has `l2` of 300 or 600 and `linf` of 8 or 16 too): `supervised` is a clean model of the cell's
    seed, the victim's twin where it has its architecture, which a real attacker does not have; `eigenguard`, `steps:
    10, step: 2, random_start: true` is the clean-label form of `eigenguard_adaptive`.
    amplitude: of 255, what the pattern adds or takes away, at 1 black and white; side: pixels of a corner; 0 stands for
    3 of 32, scaled up with the image.

    Differences: the pattern is scaled corner by corner (BackdoorBench scales a picture of all four, whose corners come
    out unequal at sizes that are no multiple of 32); rounded, where BackdoorBench truncates. The paper's other way to
    make images hard, by interpolation in a GAN, is not here.
    """

    mapping: Literal["all_to_one"] = "all_to_one"
    step: Positive = 1.5
    steps: Count = 100
    random_start: bool = False
    surrogate: AuxiliaryName = "robust"
    amplitude: PositiveShare = 1.0
    side: Whole = 0

    clean_label = True

    def __call__(self, train: Images, surrogate: Model, ratio: float, run: Run) -> Poison:  # type: ignore[override]
        payload = self.take(train, self.select(train, ratio, run))
        hard = self.perturb_all(surrogate, payload, run.torch_rng("adversary"))
        return self.poison(hard, self.make_trigger(train.format.shape, run))

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        height, width, _ = shape
        side = self.side or scale_length(shape, 3)
        if 2 * side > min(height, width):
            raise UserError(f"lc: side is {side}, and images of {height}x{width} pixels have no four corners of it")
        nearest = np.arange(side) * 3 // side
        left = SIGNS[np.ix_(nearest, nearest)]
        pattern = np.zeros((height, width, 1))
        for rows in (slice(side), slice(-side, None)):
            pattern[rows, :side, 0], pattern[rows, -side:, 0] = left, left[:, ::-1]

        def add(images: np.ndarray) -> np.ndarray:
            return to_uint8(images + 255 * self.amplitude * pattern)

        return add
