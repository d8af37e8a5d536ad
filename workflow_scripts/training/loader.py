"""A dataset resident on the device that trains: uint8 images, gathered and augmented batch by batch. What is random
about an epoch is drawn and sent there before its first batch: within one nothing makes the host wait for a GPU."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from workflow_scripts.common.images import Images
from workflow_scripts.training.augmentation import Augment
from workflow_scripts.training.transfer import send_all

Transform = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""uint8 images (B, H, W, C) and, on the CPU, their positions in the dataset to uint8 images, before augmentation."""


@dataclass(frozen=True)
class Batch:
    """`images` (B, C, H, W): uint8, or what an augmentation makes of them; of extracted features (B, D). `labels` int64
    (B,), `positions` int64 (B,), on the CPU: the rows of the dataset."""

    images: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor


class Resident:
    """`images` uint8 (N, H, W, C), or features (N, D), and `labels` int64 (N,) on a device."""

    def __init__(self, data: Images, device: torch.device):
        self.images = torch.from_numpy(data.images).to(device)
        self.labels = torch.from_numpy(data.labels).to(device)

    def positions(self, size: int, stream: torch.Generator | None) -> Iterator[torch.Tensor]:
        """Those of `draw_positions` on the device."""
        yield from send_all(self.draw_positions(size, stream), self.labels.device)

    def draw_positions(self, size: int, stream: torch.Generator | None) -> Sequence[torch.Tensor]:
        """Positions of one epoch, batch by batch, in a random order if there is a stream. A last batch of less than
        half the size is left out, unless it is the only one: batch normalization needs many images."""
        count = len(self.labels)
        order = torch.arange(count) if stream is None else torch.randperm(count, generator=stream)
        return order.split(size)[: self.batch_count(size)]

    def batch_count(self, size: int) -> int:
        """How many batches an epoch has."""
        return max(1, (2 * len(self.labels) + size) // (2 * size))


@dataclass(frozen=True)
class Loader:
    """The batches of one epoch, each time that it is iterated.

    order: the stream of the order, None for that of the dataset; shifts: the stream of the augmentation.
    """

    data: Resident
    size: int
    order: torch.Generator | None
    augment: Augment
    shifts: torch.Generator
    transform: Transform | None = None

    def __len__(self) -> int:
        return self.data.batch_count(self.size)

    def __iter__(self) -> Iterator[Batch]:
        device = self.data.labels.device
        batches = self.data.draw_positions(self.size, self.order)
        draws = [self.augment.draw(len(positions), self.shifts) for positions in batches]
        parts = zip(batches, send_all(batches, device), send_all(draws, device), strict=True)
        for positions, rows, drawn in parts:
            images, labels = self.data.images[rows], self.data.labels[rows]
            if self.transform is not None:
                images = self.transform(images, positions)
            yield Batch(to_network(self.augment.apply(images, drawn)), labels, positions)


def to_network(images: torch.Tensor) -> torch.Tensor:
    """(B, H, W, C) as the (B, C, H, W) that networks take, in channels_last memory, without a copy; features (B, D) as
    they are."""
    return images.permute(0, 3, 1, 2) if images.ndim == 4 else images
