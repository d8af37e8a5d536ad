"""WaNet - Imperceptible Warping-based Backdoor Attack."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.attacks import Attack, Planted, Trigger, check_target
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Count, NonNegative, Positive
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.models import Model
from workflow_scripts.training.loader import Augment
from workflow_scripts.training.loop import train as fit


@dataclass(frozen=True)
class WaNet(Attack):
    """A smooth warp; images warped at random keep their label, so that only this one warp counts (Nguyen, Tran; ICLR
    2021, arXiv 2102.10369). It controls training.

    s: strength, the control points move by s / 2 pixels in the mean, at every image size; k: control points a side;
    cover_ratio: cover samples for each payload sample, each warped anew every time it is seen.
    training: `paper` for a constant learning rate and one crop, rotation and flip for the whole batch, as BackdoorBench
    has it; `recipe` for the model's own schedule and augmentation.

    Difference: payload and cover are fixed index sets, so that a poisoned set exists to be published; the official code
    warps the first images of each batch. What is published holds one random warp of each cover sample.
    """

    s: Positive = 0.5
    k: Count = 4
    cover_ratio: NonNegative = 2.0
    training: Literal["paper", "recipe"] = "paper"

    def __call__(self, train: Images, model: Model, ratio: float, run: Run) -> Planted:  # type: ignore[override]
        check_target(self, train)
        payload, cover = self._chosen(len(train), ratio, run)
        grid = self._grid(train.format.shape, run)
        planted = self.planted(train[payload], warper(grid))
        covers = train[cover]
        noisy = warp(torch.from_numpy(covers.images), jittered(grid, len(covers), run.torch("published covers")))
        published = Planted(
            changed=replace(
                covers,
                images=np.concatenate([planted.changed.images, noisy.numpy()]),
                labels=np.concatenate([planted.changed.labels, covers.labels]),
                index=np.concatenate([planted.changed.index, covers.index]),
            ),
            original_labels=np.concatenate([planted.original_labels, covers.labels]),
            roles=np.concatenate([planted.roles, np.full(len(covers), "cover")]),
            trigger=planted.trigger,
            victim=model,
        )
        self._train(model, train.overwritten(planted.changed), cover, grid, run)
        return published

    def _chosen(self, count: int, ratio: float, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Positions of payload and cover, from the two ends of one random order: larger ratios contain smaller ones."""
        order = run.numpy("selection").permutation(count)
        payload = round(ratio * count)
        cover = round(self.cover_ratio * payload)
        if payload + cover > count:
            raise UserError(
                f"ratio {ratio:g} asks for {payload} payload and {cover} cover images of {count}: "
                f"the ratio may be at most {1 / (1 + self.cover_ratio):.4f}"
            )
        return order[:payload], order[count - cover :]

    def _grid(self, shape: tuple[int, int, int], run: Run) -> torch.Tensor:
        """float32 (1, H, W, 2): where each pixel is taken from, in [-1, 1], x first (section 3.2)."""
        height, width, _ = shape
        control = torch.rand(1, 2, self.k, self.k, generator=run.torch("trigger")) * 2 - 1
        flow = F.interpolate(control / control.abs().mean(), (height, width), mode="bicubic", align_corners=True)
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        identity = torch.stack([columns, rows], -1)
        return (identity + self.s * flow.permute(0, 2, 3, 1) / height).clamp(-1, 1)

    def _train(self, model: Model, data: Images, cover: np.ndarray, grid: torch.Tensor, run: Run) -> None:
        covers = torch.zeros(len(data), dtype=torch.bool, device=run.device)
        covers[torch.from_numpy(cover)] = True
        noise = run.torch("covers")

        def alter(images: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
            rows = torch.nonzero(covers[positions]).flatten()
            if len(rows):
                images = images.index_copy(0, rows, warp(images[rows], jittered(grid, len(rows), noise)))
            return images

        if self.training == "recipe":
            fit(model, data, model.recipe, run, alter=alter)
        else:
            recipe = replace(model.recipe, schedule="constant")
            fit(
                model,
                data,
                recipe,
                run,
                alter=alter,
                augment=whole_batch(255 * torch.tensor(data.format.mean), recipe.flip),
            )


def jittered(grid: torch.Tensor, count: int, noise: torch.Generator) -> torch.Tensor:
    """The grid of cover samples: up to half a pixel of uniform noise at every place, drawn for each image."""
    drawn = torch.rand(count, *grid.shape[1:], generator=noise) * 2 - 1
    return (grid + drawn / grid.shape[1]).clamp(-1, 1)


def warp(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, C) images sampled bilinearly at a grid (1 or N, H, W, 2); rounded, not truncated."""
    grid = grid.to(images.device).expand(len(images), -1, -1, -1)
    values = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, padding_mode="zeros", align_corners=True)
    return values.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def warper(grid: torch.Tensor) -> Trigger:
    """The trigger of a grid."""
    return lambda images: warp(torch.from_numpy(images), grid).contiguous().numpy()


def whole_batch(fill: torch.Tensor, flip: bool, pad: int = 5, degrees: float = 10.0) -> Augment:
    """BackdoorBench's augmentation for this attack, one draw for all images of a batch: a crop out of a border of `pad`
    in 8 of 10 batches, a rotation of up to `degrees` (nearest pixel) in every other, a flip in every other.

    What comes in from outside is `fill` (C,), the mean colour: it augments normalised images, whose mean is 0.
    """

    def augment(images: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        chances = torch.rand(3, generator=stream)
        down, right = torch.randint(2 * pad + 1, (2,), generator=stream).tolist()
        angle = torch.deg2rad((torch.rand(1, generator=stream) * 2 - 1) * degrees)
        values = images.float() - fill.to(images.device)
        if chances[0] < 0.8:
            height, width = images.shape[1:3]
            values = F.pad(values, (0, 0, pad, pad, pad, pad))[:, down : down + height, right : right + width]
        if chances[1] < 0.5:
            values = rotated(values, angle)
        values = values.flip(2) if flip and chances[2] < 0.5 else values
        return (values + fill.to(images.device)).round().clamp(0, 255).to(torch.uint8)

    return augment


def rotated(values: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Square images (N, H, W, C) turned by an angle (1,) in radians: nearest pixel, 0 from outside."""
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros(1)
    turn = torch.stack([torch.cat([cosine, -sine, zero]), torch.cat([sine, cosine, zero])])[None]
    planes = values.permute(0, 3, 1, 2)
    grid = F.affine_grid(turn, [1, *planes.shape[1:]], align_corners=False).to(values.device)
    turned = F.grid_sample(planes, grid.expand(len(values), -1, -1, -1), mode="nearest", align_corners=False)
    return turned.permute(0, 2, 3, 1)
