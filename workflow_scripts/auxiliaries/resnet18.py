"""ResNet-18, trained on ImageNet's labels."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries.pretrained import Pretrained


@dataclass(frozen=True)
class ResNet18(Pretrained):
    """Deep Residual Learning for Image Recognition (He, Zhang, Ren, Sun; CVPR 2016, arXiv 1512.03385), with
    torchvision's weights: 512 features."""

    hub = "timm/resnet18.tv_in1k on the Hugging Face hub"

    folder: str = "data/resnet18"
