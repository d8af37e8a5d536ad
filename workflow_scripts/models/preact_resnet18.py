"""Identity Mappings in Deep Residual Networks: the pre-activation ResNet-18 for small images."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.fields import Count
from workflow_scripts.networks.architecture import Architecture, Head


@dataclass(frozen=True)
class PreActResNet18(Architecture):
    """The pre-activation network (He, Zhang, Ren, Sun; ECCV 2016, arXiv 1603.05027) in the form that the field's
    checkpoints have: no batch normalization before the pooling, none in the shortcuts. torchvision has
    post-activation ResNets only.

    width: channels of the first stage, doubled by each further one; blocks: residual blocks of each stage.
    stem: `small` is a 3x3 convolution, `large` a 7x7 of stride 2 with a max-pooling, for images of 100 pixels and more.
    last_norm: batch normalization and ReLU before the pooling, as the paper has it.
    """

    parameters = 11_171_146

    width: Count = 64
    blocks: tuple[Count, ...] = (2, 2, 2, 2)
    stem: Literal["small", "large"] = "small"
    last_norm: bool = False

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        return PreActResNet(channels, classes, self)

    def residual_sums(self, network: nn.Module) -> dict[str, str]:
        blocks = [name for name, module in network.named_modules() if isinstance(module, PreActBlock)]
        return {f"{name}.conv2": name for name in blocks}


class PreActBlock(nn.Module):
    """BN-ReLU-conv twice, beside the identity or, where the shape changes, a 1x1 convolution of the activated input."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = F.relu(self.bn1(x))
        shortcut = self.shortcut(activated) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(activated)))) + shortcut


class PreActResNet(nn.Module):
    """`conv1`, `layer1` … of blocks, optionally `bn`, `linear`: the names that the field's checkpoints have."""

    def __init__(self, channels: int, classes: int, shape: PreActResNet18):
        super().__init__()
        large = shape.stem == "large"
        self.conv1 = nn.Conv2d(channels, shape.width, *((7, 2, 3) if large else (3, 1, 1)), bias=False)
        self.pool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        inside = shape.width
        for stage, count in enumerate(shape.blocks):
            outside = shape.width * 2**stage
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            blocks = [PreActBlock(outside if i else inside, outside, stride) for i, stride in enumerate(strides)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inside = outside
        self.stages = len(shape.blocks)
        if shape.last_norm:
            self.bn = nn.BatchNorm2d(inside)
        self.linear = Head(inside, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.conv1(x))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        if hasattr(self, "bn"):
            x = F.relu(self.bn(x))
        return self.linear(x.mean((2, 3)))
