"""MobileNetV2: Inverted Residuals and Linear Bottlenecks."""

from dataclasses import dataclass
from itertools import accumulate

from torch import nn

from workflow_scripts.common.fields import Count, Positive, Share
from workflow_scripts.models._libraries import Stem, has_small_stem, in_sequence
from workflow_scripts.networks.architecture import Architecture, Head

GROUPS = ((1, 16, 1), (6, 24, 2), (6, 32, 2), (6, 64, 2), (6, 96, 1), (6, 160, 2), (6, 320, 1))
"""Of each group of blocks: by how much they widen inside, their channels, the stride of the first (table 2)."""


@dataclass(frozen=True)
class MobileNetV2(Architecture):
    """Depthwise convolutions between narrow sums, of torchvision's blocks (Sandler, Howard, Zhu, Zhmoginov, Chen; CVPR
    2018, arXiv 1801.04381). Its stages are the seven groups of blocks of one width.

    width: by which all channels are multiplied, and rounded to eights, but for `last`, those before the classifier,
    whose dropout is given; blocks: of each group, of the first groups where there are fewer.
    stem: `small` goes at stride 1 as far as the second group, as others have it for CIFAR-10, `large` is torchvision's,
    of whose 32 pixels one position is left in the end; `auto`: large from 64 pixels on.
    """

    parameters = 2_236_682

    width: Positive = 1.0
    blocks: tuple[Count, ...] = (1, 2, 3, 4, 3, 3, 1)
    last: Count = 1280
    dropout: Share = 0.2
    stem: Stem = "auto"

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        from torchvision.models.mobilenetv2 import InvertedResidual
        from torchvision.ops.misc import Conv2dNormActivation

        small, inside = has_small_stem(self.stem, size), self._scale(32)
        features = [Conv2dNormActivation(channels, inside, stride=1 if small else 2, activation_layer=nn.ReLU6)]
        for group, (count, (expansion, width, stride)) in enumerate(zip(self.blocks, GROUPS, strict=False), 1):
            for block in range(count):
                first = stride if block == 0 and not (small and group == 2) else 1
                features.append(InvertedResidual(inside, self._scale(width), first, expansion))
                inside = self._scale(width)
        features.append(Conv2dNormActivation(inside, self.last, kernel_size=1, activation_layer=nn.ReLU6))
        return in_sequence(
            features=nn.Sequential(*features),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Sequential(nn.Dropout(self.dropout), Head(self.last, classes)),
        )

    def _scale(self, channels: int) -> int:
        """The nearest multiple of 8, no more than a tenth below; at least 8."""
        from torchvision.models._utils import _make_divisible

        return int(_make_divisible(channels * self.width, 8))

    def stages(self, network: nn.Module) -> dict[str, nn.Module]:
        names = [f"features.{last}" for last in accumulate(self.blocks[: len(GROUPS)])]
        return {name: network.get_submodule(name) for name in names}

    def residual_sums(self, network: nn.Module) -> dict[str, str]:
        from torchvision.models.mobilenetv2 import InvertedResidual

        blocks = {name: part for name, part in network.named_modules() if isinstance(part, InvertedResidual)}
        return {f"{name}.conv.{len(part.conv) - 2}": name for name, part in blocks.items() if part.use_res_connect}
