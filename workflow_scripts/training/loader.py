"""A dataset resident on the device that trains: uint8 images, gathered and augmented batch by batch."""

from collections.abc import Callable, Iterator

import torch

from workflow_scripts.common.images import Images
from workflow_scripts.training.recipe import Recipe

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""uint8 images (B, H, W, C) and a random stream on the CPU to uint8 images of the same shape."""


class Resident:
    """`images` uint8 (N, H, W, C) and `labels` int64 (N,) on a device."""

    def __init__(self, data: Images, device: torch.device):
        self.images = torch.from_numpy(data.images).to(device)
        self.labels = torch.from_numpy(data.labels).to(device)

    def batches(self, size: int, stream: torch.Generator | None) -> Iterator[torch.Tensor]:
        """Positions of one epoch, in a random order if there is a stream. A last batch of less than half the size is
        left out, unless it is the only one: batch normalisation needs many images."""
        count = len(self.labels)
        order = torch.arange(count) if stream is None else torch.randperm(count, generator=stream)
        yield from order.to(self.labels.device).split(size)[: self.batch_count(size)]

    def batch_count(self, size: int) -> int:
        """How many batches `batches` yields."""
        return max(1, (2 * len(self.labels) + size) // (2 * size))


def to_network(images: torch.Tensor) -> torch.Tensor:
    """(B, H, W, C) as the (B, C, H, W) that networks take, in channels_last memory, without a copy; cached features
    (B, D) as they are."""
    return images.permute(0, 3, 1, 2) if images.ndim == 4 else images


def crop_and_flip(recipe: Recipe) -> Augment:
    """The recipe's random crop and horizontal flip, both in one gather."""

    def augment(images: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        if not (recipe.crop or recipe.flip):
            return images
        count, height, width, _ = images.shape
        pad = recipe.crop
        offset = torch.randint(2 * pad + 1, (2, count, 1), generator=stream).to(images.device)
        rows = torch.arange(height, device=images.device) + offset[0]
        columns = torch.arange(width, device=images.device).expand(count, width)
        if recipe.flip:
            mirrored = torch.randint(2, (count, 1), generator=stream).bool().to(images.device)
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = torch.nn.functional.pad(images, (0, 0, pad, pad, pad, pad))
        image = torch.arange(count, device=images.device)[:, None, None]
        return padded[image, rows[:, :, None], (columns + offset[1])[:, None, :]]

    return augment
