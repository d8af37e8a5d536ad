"""BppAttack: Stealthy and Efficient Trojan Attacks against Deep Neural Networks via Image Quantization and Contrastive
Adversarial Learning."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from workflow_scripts.attacks._implants import Change, Cover, Implant, draw_others
from workflow_scripts.common.fields import Bits, Share
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.training.transfer import send

DIFFUSED = {(0, 1): 7 / 16, (1, 1): 1 / 16, (1, 0): 5 / 16, (1, -1): 3 / 16}
"""Down and right of a pixel: the share of its error that its neighbor takes (Floyd and Steinberg, 1976)."""


@dataclass(frozen=True)
class Bpp(Implant):
    """Fewer colors (Wang, Zhai, Ma; CVPR 2022, arXiv 2205.13383). Covers are images with what another image loses by
    that added to them, so that only colors that fit their image count. It controls training.

    bits: of each channel (official code counts 2^bits levels); dithering: Floyd's and Steinberg's, as in the paper's
    figures, off in official code; cover_share: of all images, whatever the ratio.

    Difference: the paper's negatives are made by an adversary; official code makes them as here.
    """

    cover_share: Share = 0.1
    bits: Bits = 3
    dithering: bool = False

    def make_payload(self, shape: tuple[int, int, int], run: Run) -> Change:
        return self._quantize

    def make_cover(self, train: Images, run: Run) -> Cover:
        everything = torch.from_numpy(train.images).to(run.device)

        def add_residual(images: torch.Tensor, positions: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
            drawn = send(draw_others(positions, len(everything), stream), run.device)
            others = everything[drawn].to(images.device)
            return (images.short() + self._quantize(others) - others).clamp(0, 255).to(torch.uint8)

        return add_residual

    def _quantize(self, images: torch.Tensor) -> torch.Tensor:
        values = images.float()
        return (dither(values, self.bits) if self.dithering else nearest(values, self.bits)).round().to(torch.uint8)


def nearest(values: torch.Tensor, bits: int) -> torch.Tensor:
    """float32, the nearest of 2^bits levels that are evenly spread over 0 to 255."""
    steps = 2**bits - 1
    return (values / 255 * steps).round().clamp(0, steps) / steps * 255


def dither(values: torch.Tensor, bits: int) -> torch.Tensor:
    """float32 (N, H, W, C): `nearest`, line by line, each pixel's error spread over the neighbors that come after it.

    A pixel waits for the one before it and for three of the line above: those two lines apart go together.
    """
    height, width = values.shape[1:3]
    values = F.pad(values, (0, 0, 1, 1, 0, 1))
    for turn in range(2 * height + width - 2):
        rows = torch.arange(max(0, (turn - width + 2) // 2), min(height - 1, turn // 2) + 1, device=values.device)
        columns = turn - 2 * rows + 1
        before = values[:, rows, columns]
        after = nearest(before, bits)
        values[:, rows, columns] = after
        for (down, right), share in DIFFUSED.items():
            values[:, rows + down, columns + right] += share * (before - after)
    return values[:, :height, 1:-1]
