"""Invisible Backdoor Attack with Sample-Specific Triggers."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from workflow_scripts.attacks import DataPoison, Poison, Trigger, to_uint8
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import AuxiliaryName
from workflow_scripts.common.images import Images
from workflow_scripts.common.progress import report
from workflow_scripts.common.run import Run
from workflow_scripts.models.stego import Steganography
from workflow_scripts.networks.model import Model

PIXELS = 2**16
"""Of the images that are written on together. Always as many, some of them black: sums over another number of images
may be rounded otherwise, and so may a pixel be."""


@dataclass(frozen=True)
class SSBA(DataPoison):
    """One message, written into every image by a steganographic encoder; how that changes an image hangs on the image
    (Li, Li, Wu, Li, He, Lyu; ICCV 2021, arXiv 2012.03816). stego_encoder: the auxiliary that writes.

    Difference: the message is random bits, drawn by the seed. The paper's and BackdoorBench's is a word with a code
    that corrects errors, which only a reader needs.
    """

    stego_encoder: AuxiliaryName = "stego_encoder"

    def __call__(  # type: ignore[override]
        self, train: Images, stego_encoder: Model, ratio: float, run: Run
    ) -> Poison:
        network = stego_encoder.network
        if not isinstance(network, Steganography):
            raise UserError(f"ssba: {self.stego_encoder} writes no messages; the auxiliary stego_encoder does")
        message = torch.from_numpy(run.numpy_rng("message").integers(0, 2, network.bits))
        payload = self.take(train, self.select(train, ratio, run))
        return self.poison(payload, make_writer(network, message.float().to(run.device)))


def make_writer(network: Steganography, message: torch.Tensor) -> Trigger:
    """The trigger that writes these bits (L,)."""

    @torch.no_grad()
    def write(images: np.ndarray) -> np.ndarray:
        count = max(1, PIXELS // math.prod(images.shape[1:3]))
        written, messages = np.empty_like(images), message.expand(count, -1)
        for start in report(range(0, len(images), count), "writing messages: batch", -(-len(images) // count)):
            part = images[start : start + count]
            given = torch.zeros(count, *images.shape[1:])
            given[: len(part)] = torch.from_numpy(part).float() / 255
            found = network.encode(given.permute(0, 3, 1, 2).to(message.device), messages)
            written[start : start + count] = to_uint8(255 * found[: len(part)].permute(0, 2, 3, 1).cpu().numpy())
        return written

    return write
