"""WaNet - Imperceptible Warping-based Backdoor Attack."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from workflow_scripts.attacks._implants import Change, Cover, Implant
from workflow_scripts.common.fields import Count, NonNegative, Positive
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.training.transfer import send


@dataclass(frozen=True)
class WaNet(Implant):
    """A smooth warp; images warped at random keep their label, so that only this one warp counts (Nguyen, Tran; ICLR
    2021, arXiv 2102.10369). It controls training.

    s: strength, the control points move by s / 2 pixels in the mean, at every image size; k: control points a side;
    cover_ratio: cover samples for each payload sample, each warped anew every time it is seen.

    Difference: payload and cover are fixed index sets, so that a poisoned set exists to be published; the official code
    warps the first images of each batch (`choice: batch`). What is published holds one random warp of each cover
    sample.
    """

    cover_ratio: NonNegative = 2.0
    s: Positive = 0.5
    k: Count = 4

    def make_payload(self, shape: tuple[int, int, int], run: Run) -> Change:
        grid = self._warp_grid(shape, run)
        return lambda images: warp(images, grid)

    def make_cover(self, train: Images, run: Run) -> Cover:
        grid = self._warp_grid(train.format.shape, run)
        return lambda images, positions, stream: warp(images, random_warp_grid(grid, len(images), stream))

    def _warp_grid(self, shape: tuple[int, int, int], run: Run) -> torch.Tensor:
        """float32 (1, H, W, 2): where each pixel is taken from, in [-1, 1], x first (section 3.2)."""
        height, width, _ = shape
        control = torch.rand(1, 2, self.k, self.k, generator=run.torch_rng("trigger")) * 2 - 1
        flow = F.interpolate(control / control.abs().mean(), (height, width), mode="bicubic", align_corners=True)
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        identity = torch.stack([columns, rows], -1)
        return (identity + self.s * flow.permute(0, 2, 3, 1) / torch.tensor([width, height])).clamp(-1, 1)


def random_warp_grid(grid: torch.Tensor, count: int, noise: torch.Generator) -> torch.Tensor:
    """The grid of cover samples: up to half a pixel of uniform noise at every place, drawn for each image."""
    drawn = torch.rand(count, *grid.shape[1:], generator=noise) * 2 - 1
    _, height, width, _ = grid.shape
    return (grid + drawn / torch.tensor([width, height])).clamp(-1, 1)


def warp(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, C) images sampled bilinearly at a grid (1 or N, H, W, 2); rounded, not truncated."""
    grid = send(grid, images.device).expand(len(images), -1, -1, -1)
    values = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, padding_mode="zeros", align_corners=True)
    return values.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
