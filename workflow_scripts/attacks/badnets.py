"""BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.attacks import DataPoison, Trigger, scale_length
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Whole
from workflow_scripts.common.run import Run


@dataclass(frozen=True)
class BadNets(DataPoison):
    """A white square flush with the bottom-right corner (Gu, Dolan-Gavitt, Garg; arXiv 1708.06733, 2017).

    side: pixels; 0 stands for 3 of 32, scaled up with the image: ceil(3H / 32). BackdoorBench resizes its picture
    bilinearly instead, which gives the square gray rims at other sizes than 32.
    """

    side: Whole = 0

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        side = self.side or scale_length(shape, 3)
        if side > min(shape[:2]):
            raise UserError(f"badnets: side is {side}, more than the {shape[1]}x{shape[0]} pixels of an image")

        def stamp(images: np.ndarray) -> np.ndarray:
            stamped = images.copy()
            stamped[:, -side:, -side:] = 255
            return stamped

        return stamp
