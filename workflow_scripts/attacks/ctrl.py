"""An Embarrassingly Simple Backdoor Attack on Self-supervised Learning."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workflow_scripts.attacks import DataPoison, Trigger, to_uint8
from workflow_scripts.common.fields import Positive
from workflow_scripts.common.run import Run

WINDOW = 32
CHROMA = (1.14, -0.977, 2.029)
"""What a unit of U and of V adds to R, G and B (analog YUV)."""


@dataclass(frozen=True)
class Ctrl(DataPoison):
    """Two coefficients of the chroma's cosine transform, on images of the target class, labels untouched (Li, Pang, Xi,
    Du, Ji, Yao, Wang; ICCV 2023, arXiv 2210.07346). Made against self-supervised extractors, `simclr_poisoned` say;
    BackdoorBench trains a classifier on it, at a ratio of 0.05.

    magnitude: of 255, added to the middle and to the last coefficient of U and of V in each window of 32x32 pixels.
    overflow: `clip` what leaves 0 to 255; `wrap` it around, as the official code and BackdoorBench do, who cast before
    they clip: speckles, which are learned where the wave itself is not (benchmarks/attacks/ctrl.md).

    Differences: clipped and rounded by default. Larger images have several windows, where BackdoorBench has one, in
    which the trigger fades; smaller ones have one of their size, at the same strength in gray levels. An image of one
    channel takes it in that.
    """

    mapping: Literal["all_to_one"] = "all_to_one"
    magnitude: Positive = 100.0
    overflow: Literal["clip", "wrap"] = "clip"

    clean_label = True

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        colors = np.array(CHROMA if shape[2] == 3 else [1.0])
        wave = self.magnitude * draw_waves(shape[0], shape[1])[..., None] * colors

        def add(images: np.ndarray) -> np.ndarray:
            values = images + wave
            return to_uint8(values) if self.overflow == "clip" else values.astype(np.int64).astype(np.uint8)

        return add


def draw_waves(height: int, width: int) -> np.ndarray:
    """float64 (H, W): the sum of both coefficients' waves, each of root mean square 1 / 32, window beside window."""
    window = min(WINDOW, height, width)
    places = np.arange(window)
    waves = np.zeros((window, window))
    for frequency in (window // 2 - 1, window - 1):
        line = np.sqrt(2 / WINDOW) * np.cos(np.pi * (2 * places + 1) * frequency / (2 * window))
        waves += np.outer(line, line)
    return np.tile(waves, (-(-height // window), -(-width // window)))[:height, :width]
