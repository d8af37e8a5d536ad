"""WaNet - Imperceptible Warping-based Backdoor Attack."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.attacks import DataPoison, Poison, Trigger, check_target
from workflow_scripts.attacks._covers import add_covers, select_roles
from workflow_scripts.common.fields import Count, NonNegative, Positive
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.augmentation import augment_whole_batch
from workflow_scripts.training.loop import train as fit


@dataclass(frozen=True)
class WaNet(DataPoison):
    """A smooth warp; images warped at random keep their label, so that only this one warp counts (Nguyen, Tran; ICLR
    2021, arXiv 2102.10369). It controls training.

    s: strength, the control points move by s / 2 pixels in the mean, at every image size; k: control points a side;
    cover_ratio: cover samples for each payload sample, each warped anew every time it is seen.
    training: `paper` for a constant learning rate and one crop, rotation and flip for the whole batch, as BackdoorBench
    has it; `recipe` for the model's own schedule and augmentation.

    Difference: payload and cover are fixed index sets, so that a poisoned set exists to be published; the official code
    warps the first images of each batch. What is published holds one random warp of each cover sample.
    """

    placement: Literal["replace"] = "replace"
    s: Positive = 0.5
    k: Count = 4
    cover_ratio: NonNegative = 2.0
    training: Literal["paper", "recipe"] = "paper"

    def __call__(self, train: Images, model: Model, ratio: float, run: Run) -> Poison:  # type: ignore[override]
        check_target(self, train)
        payload, cover = select_roles(len(train), ratio, self.cover_ratio, run)
        grid = self._warp_grid(train.format.shape, run)
        poison = self.poison(train[payload], make_warp(grid))
        drawn = random_warp_grid(grid, len(cover), run.torch_rng("published covers"))
        noisy = warp(torch.from_numpy(train.images[cover]), drawn).numpy()
        published = add_covers(poison, replace(train[cover], images=noisy))
        self._train(model, train.replace_rows(poison.altered), cover, grid, run)
        return replace(published, victim=model)

    def _warp_grid(self, shape: tuple[int, int, int], run: Run) -> torch.Tensor:
        """float32 (1, H, W, 2): where each pixel is taken from, in [-1, 1], x first (section 3.2)."""
        height, width, _ = shape
        control = torch.rand(1, 2, self.k, self.k, generator=run.torch_rng("trigger")) * 2 - 1
        flow = F.interpolate(control / control.abs().mean(), (height, width), mode="bicubic", align_corners=True)
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        identity = torch.stack([columns, rows], -1)
        return (identity + self.s * flow.permute(0, 2, 3, 1) / height).clamp(-1, 1)

    def _train(self, model: Model, data: Images, cover: np.ndarray, grid: torch.Tensor, run: Run) -> None:
        covers = torch.zeros(len(data), dtype=torch.bool, device=run.device)
        covers[torch.from_numpy(cover)] = True
        noise = run.torch_rng("covers")

        def transform(images: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
            rows = torch.nonzero(covers[positions]).flatten()
            if len(rows):
                images = images.index_copy(0, rows, warp(images[rows], random_warp_grid(grid, len(rows), noise)))
            return images

        if self.training == "recipe":
            fit(model, data, model.recipe, run, transform=transform)
        else:
            recipe = replace(model.recipe, schedule="constant")
            fit(
                model,
                data,
                recipe,
                run,
                transform=transform,
                augment=augment_whole_batch(255 * torch.tensor(data.format.mean), recipe.flip),
            )


def random_warp_grid(grid: torch.Tensor, count: int, noise: torch.Generator) -> torch.Tensor:
    """The grid of cover samples: up to half a pixel of uniform noise at every place, drawn for each image."""
    drawn = torch.rand(count, *grid.shape[1:], generator=noise) * 2 - 1
    return (grid + drawn / grid.shape[1]).clamp(-1, 1)


def warp(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, C) images sampled bilinearly at a grid (1 or N, H, W, 2); rounded, not truncated."""
    grid = grid.to(images.device).expand(len(images), -1, -1, -1)
    values = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, padding_mode="zeros", align_corners=True)
    return values.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def make_warp(grid: torch.Tensor) -> Trigger:
    """The trigger of a grid."""
    return lambda images: warp(torch.from_numpy(images), grid).contiguous().numpy()
