"""Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective."""

from dataclasses import dataclass

import torch

from workflow_scripts.attacks._universal import UniversalAttack
from workflow_scripts.common.fields import Byte, Positive
from workflow_scripts.techniques.universal import Update

TAPS = 5
"""Of the low-pass filter, for each pixel of its sigma."""


@dataclass(frozen=True)
class LowFrequency(UniversalAttack):
    """A smooth pattern, without the high frequencies that give other triggers away (Zeng, Park, Mao, Jia; ICCV 2021,
    arXiv 2104.03413, section 5): each step of the search passes a low-pass filter, and then the pattern does.

    sigma: of the Gaussian filter, in pixels of 32; it scales with the image. strength: gray levels that the pattern's
    brightest pixel adds; its darkest adds nothing.

    Differences: the official search gives a network that was trained on normalized images raw ones, leaves [0, 1], and
    judges on test images; images that are taken for the target already are left out here, where their step of length 0
    smooths the pattern once more there (and ends the search in NaN if such a one is the first). BackdoorBench adds
    patterns that it ships, and its script saves them about 127 gray levels too bright.
    """

    sigma: Positive = 6.0
    strength: Byte = 51.0

    def make_update(self, shape: tuple[int, int, int]) -> Update:
        height, width, _ = shape
        sigma = self.sigma * height / 32
        down, across = low_pass(height, sigma), low_pass(width, sigma)

        def smooth(images: torch.Tensor) -> torch.Tensor:
            return down.to(images.device) @ images @ across.T.to(images.device)

        def update(pattern: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            smoothed = smooth(pattern + smooth(step))
            low, high = smoothed.aminmax()
            return self.strength / 255 * (smoothed - low) / (high - low)

        return update


def low_pass(length: int, sigma: float) -> torch.Tensor:
    """float32 (length, length): filters columns by a Gaussian of round(5 · sigma) taps, black outside the image. Of an
    even number of taps one more lies behind the pixel than before it."""
    taps = max(1, round(TAPS * sigma))
    places = torch.arange(taps) - (taps - 1) / 2
    weights = torch.exp(-((places / sigma) ** 2) / 2)
    weights = weights / weights.sum()
    rows = torch.arange(length)
    tap = rows[None, :] - rows[:, None] + (taps - 1) // 2
    inside = (tap >= 0) & (tap < taps)
    return torch.where(inside, weights[tap.clamp(0, taps - 1)], 0.0)
