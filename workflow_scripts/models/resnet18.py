"""Deep Residual Learning for Image Recognition: the ResNet-18."""

from dataclasses import dataclass

from torch import nn

from workflow_scripts.common.fields import Count
from workflow_scripts.models._libraries import Stem, has_small_stem, in_sequence
from workflow_scripts.networks.architecture import Architecture, Head


@dataclass(frozen=True)
class ResNet18(Architecture):
    """The residual network of torchvision's blocks (He, Zhang, Ren, Sun; CVPR 2016, arXiv 1512.03385).

    width: channels of the first stage, doubled by each further one; blocks: residual blocks of each stage.
    stem: `small` is a 3x3 convolution, as the field has it for CIFAR-10, `large` torchvision's 7x7 of stride 2 with a
    max-pooling, which BackdoorBench leaves there for images of 32 pixels too; `auto`: large from 64 pixels on.
    """

    parameters = 11_173_962

    width: Count = 64
    blocks: tuple[Count, ...] = (2, 2, 2, 2)
    stem: Stem = "auto"

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        small = has_small_stem(self.stem, size)
        widths = [self.width * 2**stage for stage in range(len(self.blocks))]
        stages = zip([self.width, *widths], widths, self.blocks, strict=False)
        layers = {f"layer{i}": _build_stage(*stage, 2 if i > 1 else 1) for i, stage in enumerate(stages, 1)}
        return in_sequence(
            conv1=nn.Conv2d(channels, self.width, *((3, 1, 1) if small else (7, 2, 3)), bias=False),
            bn1=nn.BatchNorm2d(self.width),
            relu=nn.ReLU(),
            maxpool=nn.Identity() if small else nn.MaxPool2d(3, 2, 1),
            **layers,
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=Head(widths[-1], classes),
        )

    def residual_sums(self, network: nn.Module) -> dict[str, str]:
        from torchvision.models.resnet import BasicBlock

        blocks = [name for name, module in network.named_modules() if isinstance(module, BasicBlock)]
        return {f"{name}.conv2": name for name in blocks}


def _build_stage(inside: int, outside: int, count: int, stride: int) -> nn.Sequential:
    """Blocks, of which the first changes the shape."""
    from torchvision.models.resnet import BasicBlock, conv1x1

    changes = stride > 1 or inside != outside
    shortcut = nn.Sequential(conv1x1(inside, outside, stride), nn.BatchNorm2d(outside)) if changes else None
    return nn.Sequential(
        BasicBlock(inside, outside, stride, shortcut), *(BasicBlock(outside, outside) for _ in range(count - 1))
    )
