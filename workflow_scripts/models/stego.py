"""A network that writes messages into images and reads them again."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.fields import Count
from workflow_scripts.networks.architecture import Architecture

Output = Literal["image", "residual"]
SIDE = 16
"""A message is shown to the encoder as an image of so many pixels a side, enlarged to the size of its images."""


@dataclass(frozen=True)
class Stego(Architecture):
    """The encoder and the decoder of BackdoorBench's SSBA: StegaStamp's (Tancik, Mildenhall, Ng; CVPR 2020, arXiv
    1904.05343) without its spatial transformer.

    bits: of a message; width: channels of the outer convolutions, the inner ones have up to eight times as many;
    output: whether the encoder paints the `image` anew, through a sigmoid, or adds a `residual`. What the network as a
    whole gives for images are logits of the bits that it reads in them.

    Differences to BackdoorBench: weights are drawn as StegaStamp's encoder draws them, so that signals keep their size
    (He, Zhang, Ren, Sun; ICCV 2015, arXiv 1502.01852), and biases are 0: as torch draws them, no bit is read for
    hundreds of steps. An image with its residual is cut to [0, 1] in training too. Images may have any size: what is
    halved is rounded up.
    """

    classifies = False
    normalized = False
    parameters = 1_510_599

    bits: Count = 100
    width: Count = 32
    output: Output = "image"

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        return Steganography(channels, size, self.bits, self.width, self.output)


class Steganography(nn.Module):
    """`encoder` and `decoder`, in one file: who writes a message must know how it is read."""

    def __init__(self, channels: int, size: tuple[int, int], bits: int, width: int, output: Output):
        super().__init__()
        self.bits = bits
        self.encoder = Encoder(channels, bits, width, output)
        self.decoder = build_decoder(channels, size, bits, width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.constant_(cast(nn.Parameter, module.bias), 0.0)

    def encode(self, images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """float32 (B, C, H, W) in [0, 1]: such images with the messages, of 0 and 1, (B, L) written into them."""
        return self.encoder(images, bits)  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, L): logits of the bits that stand in images (B, C, H, W) in [0, 1]."""
        return self.decoder(images)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A U-Net of an image and a picture of its message."""

    def __init__(self, channels: int, bits: int, width: int, output: Output):
        super().__init__()
        seen = 2 * channels
        self.output = output
        self.message = nn.Linear(bits, channels * SIDE * SIDE)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.start = nn.Conv2d(seen, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in zip(widths, widths[1:], strict=False)
        )
        inner, outer = widths[:0:-1], widths[-2::-1]
        self.up = nn.ModuleList(nn.Conv2d(i, o, 2) for i, o in zip(inner, outer, strict=True))
        extra = [0, 0, 0, seen]  # the last one sees the image again
        self.merge = nn.ModuleList(nn.Conv2d(2 * o + e, o, 3, padding=1) for o, e in zip(outer, extra, strict=True))
        self.paint = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, channels, 1))

    def forward(self, images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        picture = F.relu(self.message(bits)).unflatten(1, (-1, SIDE, SIDE))
        seen = torch.cat([F.interpolate(picture, images.shape[2:]), images], 1)
        skips = [F.relu(self.start(seen))]
        for down in self.down:
            skips.append(F.relu(down(skips[-1])))
        value = skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            skip = skips.pop()
            larger = F.pad(F.interpolate(value, skip.shape[2:]), (0, 1, 0, 1))
            beside = [skip, F.relu(up(larger))] if skips else [skip, F.relu(up(larger)), seen]
            value = F.relu(merge(torch.cat(beside, 1)))
        painted = self.paint(value)
        return torch.sigmoid(painted) if self.output == "image" else (images + painted).clamp(0, 1)


def build_decoder(channels: int, size: tuple[int, int], bits: int, width: int) -> nn.Module:
    """Seven convolutions, five of which halve the image, and a hidden layer of 512 at a width of 32."""
    layers: list[nn.Module] = []
    height, wide = size
    for given, made, stride in (
        (channels, width, 2),
        (width, width, 1),
        (width, 2 * width, 2),
        (2 * width, 2 * width, 1),
        (2 * width, 2 * width, 2),
        (2 * width, 4 * width, 2),
        (4 * width, 4 * width, 2),
    ):
        layers += [nn.Conv2d(given, made, 3, stride=stride, padding=1), nn.ReLU()]
        height, wide = -(-height // stride), -(-wide // stride)
    hidden = 16 * width
    last = [nn.Linear(4 * width * height * wide, hidden), nn.ReLU(), nn.Linear(hidden, bits)]
    return nn.Sequential(*layers, nn.Flatten(), *last)
