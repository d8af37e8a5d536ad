"""An attack on EigenGuard by one who knows it."""

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from workflow_scripts.attacks import DataPoison, Poison, Trigger, scale_length
from workflow_scripts.attacks._covers import add_covers
from workflow_scripts.attacks.badnets import BadNets
from workflow_scripts.common.fields import AuxiliaryName, Count, Share, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.adversary import Adversary


@dataclass(frozen=True)
class EigenGuardAdaptive(Adversary, DataPoison):
    """BadNets, on training images of which those of the target class are perturbed so that they show nothing that a
    network could go by but the trigger (the rebuttal of EigenGuard, ICLR 2024 submission, OpenReview YSZ2GmGvUV:
    PGD-10 by a pretrained network with the filter). Neither the rebuttal nor its reviews say how far and how many.

    surrogate: the network that the images are perturbed against (see `Adversary`), with the filter, which then takes
    each image by itself, for it would take from a batch of one class what they share: `supervised` is the same without.
    noisy_share: of the target class's images. Perturbed images that are payload bear the trigger above the noise, and
    the others, covers, keep their label. noise_only: publish the noise, but no payload: the control.
    patterns: how many triggers there are, each image bearing the one that a checksum of its pixels names; 1: BadNets'.
    side: pixels of their squares; 0 stands for 3 of 32, as in BadNets.

    Its clean-label form, a trigger on perturbed images of the target class and nothing else, is `lc` by this surrogate.

    The high-rank trigger, `patterns` above 1, is this project's reading of the reviewers' question. EigenGuard holds
    that what a trigger adds to the features has a low rank, and levels the top directions of a batch: so here are
    squares of random black or white in each channel, each in a place of its own. In the third stage of a clean network
    on digits what 64 of them add has an effective rank of 260 and a stable rank of 9 to 12; BadNets' square, of 101 to
    129 and of 2. A victim is free to bring them together.
    """

    placement: Literal["replace"] = "replace"
    surrogate: AuxiliaryName = "eigenguard"
    noisy_share: Share = 1.0
    noise_only: bool = False
    patterns: Count = 1
    side: Whole = 0

    def __call__(self, train: Images, surrogate: Model, ratio: float, run: Run) -> Poison:  # type: ignore[override]
        noisy = self.perturb_all(surrogate, self._natural(train, run), run.torch_rng("adversary"))
        chosen = self.select(train, ratio, run)[: 0 if self.noise_only else None]
        payload = self.take(train.replace_rows(noisy), chosen)
        poison = self.poison(payload, self.make_trigger(train.format.shape, run))
        return add_covers(poison, noisy[~np.isin(noisy.index, payload.index)])

    def _natural(self, train: Images, run: Run) -> Images:
        """The images that teach a network what the target looks like, or the targets, where all classes are some."""
        classes = len(train.format.classes)
        targets = self.target_labels(np.arange(classes), classes)
        pool = run.numpy_rng("noise").permutation(np.flatnonzero(np.isin(train.labels, targets)))
        return train[pool[: round(self.noisy_share * len(pool))]]

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        one = BadNets(side=self.side).make_trigger(shape, run)  # UserError if a square does not fit
        if self.patterns == 1:
            return one
        rows, columns, squares = self._draw_squares(shape, run)

        def stamp(images: np.ndarray) -> np.ndarray:
            stamped = images.copy()
            for image in stamped:
                which = zlib.crc32(image.tobytes()) % self.patterns
                image[rows[which], columns[which]] = squares[which]
            return stamped

        return stamp

    def _draw_squares(self, shape: tuple[int, int, int], run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows (R, S, 1) and columns (R, 1, S) of the R squares, and their pixels (R, S, S, C), uint8; of more patterns
        those of fewer are the first. Places repeat where there are fewer of them."""
        height, width, channels = shape
        side = self.side or scale_length(shape, 3)
        down, right = height - side + 1, width - side + 1
        rng, reach = run.numpy_rng("patterns"), np.arange(side)
        places = np.resize(rng.permutation(down * right), self.patterns)[:, None]
        pixels = 255 * rng.integers(0, 2, (self.patterns, side, side, channels), np.uint8)
        return (places // right + reach)[:, :, None], (places % right + reach)[:, None], pixels
