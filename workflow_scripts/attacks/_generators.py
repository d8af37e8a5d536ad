"""Networks that make images of images, and the input-aware trigger, which two of them make."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.images import ImageFormat
from workflow_scripts.training.loader import to_network

LEVELS = 3
MOMENTUM = 0.05
CHUNK = 100
EPSILON = 1e-7


class EncoderDecoder(nn.Module):
    """Images (B, C, H, W), of at least 16 pixels a side, to `outputs` channels of the same size in [0, 1]. It has
    `width` channels at full size, and twice as many at each of the levels below."""

    def __init__(self, channels: int, outputs: int, width: int):
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        down = [nn.Sequential(*_block(a, b), *_block(b, b)) for a, b in pairwise([channels, *widths])]
        up = [nn.Sequential(*_block(a, a), *_block(a, b)) for a, b in pairwise([*reversed(widths), outputs])]
        self.down, self.up = nn.ModuleList(down), nn.ModuleList([*up[:-1], up[-1][:-1]])  # the last one without a ReLU
        self.middle = nn.Sequential(*_block(widths[-1], widths[-1]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        sizes = []
        for level in self.down:
            images = level(images)
            sizes.append(images.shape[2:])
            images = F.max_pool2d(images, 2)
        images = self.middle(images)
        for level in self.up:
            images = level(F.interpolate(images, sizes.pop(), mode="bilinear"))
        return images.tanh() / 2 + 0.5


def _block(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after, momentum=MOMENTUM), nn.ReLU()


class InputAwareTrigger(nn.Module):
    """Images, patterns and masks are float32 (B, C or 1, H, W) in [0, 1]. The networks are given normalized images, and
    distances are between normalized ones."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, form: ImageFormat, width: int):
        super().__init__()
        channels = form.shape[2]
        self.pattern = EncoderDecoder(channels, channels, width)
        self.mask = EncoderDecoder(channels, 1, width)
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(getattr(form, key)).view(1, -1, 1, 1))

    def make_patterns(self, images: torch.Tensor) -> torch.Tensor:
        """What is to be seen through the masks of these images."""
        return self.pattern((images - self.mean) / self.std)

    def make_masks(self, images: torch.Tensor) -> torch.Tensor:
        """Where it is to be seen: near 0 or 1 almost everywhere."""
        return (20 * self.mask((images - self.mean) / self.std) - 10).tanh() / 2 + 0.5

    def forward(self, images: torch.Tensor, patterns: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Images with patterns put on them through masks."""
        return images + (patterns - images) * masks

    def distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """(B,): root mean squares of differences between images, or between patterns, when normalized."""
        return root_mean_square((first - second) / self.std)

    @torch.no_grad()
    def change(self, images: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
        """uint8 images (N, H, W, C) with the triggers that belong to `sources`, as many, on the device of the images.

        The networks are asked about chunks of one size, the last one filled up: otherwise the last bits of an answer
        would hang on how many images there are.
        """
        parts = [images[:0]]
        for some, others in zip(images.split(CHUNK), sources.split(CHUNK), strict=True):
            clean, asked = (to_unit(given.to(self.mean.device)) for given in (some, others))
            asked = F.pad(asked, (0, 0, 0, 0, 0, 0, 0, CHUNK - len(asked)))
            patterns, masks = (make(asked)[: len(clean)] for make in (self.make_patterns, self.make_masks))
            values = (255 * self(clean, patterns, masks)).round().clamp(0, 255)
            parts.append(values.to(torch.uint8).permute(0, 2, 3, 1).to(images.device))
        return torch.cat(parts)


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """float32 (B, C, H, W) in [0, 1] of uint8 images (B, H, W, C)."""
    return to_network(images).float() / 255


def root_mean_square(values: torch.Tensor) -> torch.Tensor:
    """(B,) of values (B, …). Its gradient at 0 is 0, where that of a square root is not finite."""
    return torch.linalg.vector_norm(values.flatten(1), dim=1) / values[0].numel() ** 0.5


def lack_of_diversity(images: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """The diversity loss, a scalar: how far apart the images of pairs are (B,), by how far apart is what is made of
    them."""
    return (images / (made + EPSILON)).mean()
