"""Networks out of torchvision's blocks, under torchvision's names, and above the networks of timm."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.networks.architecture import Head
from workflow_scripts.networks.hooks import watch

Stem = Literal["auto", "small", "large"]
"""How a network begins: as it does for small images, or for large ones; `auto`: large from 64 pixels on."""


def has_small_stem(stem: Stem, size: tuple[int, int]) -> bool:
    """Whether a network begins as for small images, of the size (H, W)."""
    return stem == "small" or (stem == "auto" and min(size) < 64)


def in_sequence(**parts: nn.Module) -> nn.Sequential:
    """The parts by name, one behind the other, the weights of their convolutions drawn as torchvision draws them. Its
    linear layers of σ = 0.01 are for thousands of inputs: of fewer, next to nothing arrives behind two of them."""
    network = nn.Sequential()
    for name, part in parts.items():
        network.add_module(name, part)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


class Tower(nn.Module):
    """`tower`, a network of timm that was made without a classifier, and `linear`.

    stretched: the size (H, W) that images are brought to, bilinearly as torchvision's `Resize` does; None: as they are.
    silent: modules of the network whose weights its code uses without calling them, so that they show no outputs.
    """

    def __init__(self, tower: nn.Module, shape: tuple[int, int, int], classes: int, stretched: tuple[int, int] | None):
        super().__init__()
        self.tower, self.stretched = tower, stretched
        fired: set[str] = set()
        training = tower.training
        with torch.no_grad(), watch(dict(self.named_modules()), lambda name, *_: fired.add(name)):
            features = self.eval().find_features(torch.zeros(1, *shape))
        self.train(training)
        self.silent = frozenset(name for name, module in self.named_modules() if name not in fired)
        self.linear = Head(features.shape[1], classes)

    def find_features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, D) of images (B, C, H, W)."""
        if self.stretched:
            images = F.interpolate(images, self.stretched, mode="bilinear", antialias=True)
        features: torch.Tensor = self.tower(images)
        return features.flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) of images (B, C, H, W)."""
        return self.linear(self.find_features(images))
