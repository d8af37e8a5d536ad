"""A New Backdoor Attack in CNNs by Training Set Corruption without Label Poisoning."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workflow_scripts.attacks import DataPoison, Trigger, to_uint8
from workflow_scripts.common.fields import Byte, Count
from workflow_scripts.common.run import Run


@dataclass(frozen=True)
class Sig(DataPoison):
    """A horizontal sine on images of the target class, labels untouched (Barni, Kallas, Tondi; ICIP 2019).

    amplitude: of 255; frequency: cycles per image width, so the trigger scales with the image (below 2 · frequency
    pixels it aliases). Rounded, where BackdoorBench truncates.
    """

    mapping: Literal["all_to_one"] = "all_to_one"
    amplitude: Byte = 40.0
    frequency: Count = 6

    clean_label = True

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        columns = np.arange(shape[1])
        wave = self.amplitude * np.sin(2 * np.pi * columns * self.frequency / shape[1])

        def add(images: np.ndarray) -> np.ndarray:
            return to_uint8(images + wave[None, None, :, None])

        return add
