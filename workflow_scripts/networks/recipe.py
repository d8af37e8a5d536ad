"""How a network is trained: a part of the parameters of every model."""

import math
from dataclasses import dataclass
from typing import Literal

from workflow_scripts.common.fields import Count, NonNegative, Positive, Share, Whole

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Recipe:
    """SGD and its augmentation. The defaults are BackdoorBench's for CIFAR-10, but for its precision (fp32).

    schedule: `cosine` falls to 0 epoch by epoch; `one_cycle` rises linearly over the first quarter of the steps and
    falls along a cosine (Smith 2018, arXiv 1708.07120, without the momentum cycle); `step` is a tenth from two thirds
    of the epochs on; `constant`.
    crop: pixels of zero padding before a random crop, 0 for none; flip: horizontally, every other image.
    precision: `auto` is bfloat16 autocast where the device has it in hardware, otherwise float32.
    """

    epochs: Count = 100
    lr: Positive = 0.01
    batch_size: Count = 128
    schedule: Literal["cosine", "one_cycle", "step", "constant"] = "cosine"
    momentum: Share = 0.9
    nesterov: bool = False
    weight_decay: NonNegative = 5e-4
    crop: Whole = 4
    flip: bool = True
    precision: Precision = "auto"

    def lr_at(self, epoch: int, fraction: float) -> float:
        """The learning rate in an epoch, from 0, when this fraction of all steps is done."""
        match self.schedule:
            case "cosine":
                return self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
            case "one_cycle" if fraction < 0.25:
                return self.lr * (0.04 + 0.96 * fraction / 0.25)
            case "one_cycle":
                return self.lr * (1 + math.cos(math.pi * (fraction - 0.25) / 0.75)) / 2
            case "step" if epoch >= self.epochs * 2 / 3:
                return self.lr / 10
        return self.lr
