"""An Image is Worth 16x16 Words: the vision transformer ViT-B/16."""

from dataclasses import dataclass

from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Count, Whole
from workflow_scripts.models._libraries import Tower
from workflow_scripts.networks.architecture import Architecture


@dataclass(frozen=True)
class ViTB16(Architecture):
    """Self-attention between patches of the image (Dosovitskiy et al.; ICLR 2021, arXiv 2010.11929), as timm has it:
    queries, keys and values are a linear layer, whose neurons can be looked at, and pruned.

    size: pixels of the square that every image is stretched to; 0: images as they are. patch: its pixels on a side;
    width: of the embedding; depth: blocks; heads: of each attention.

    Untrained: BackdoorBench, which stretches images to 224 pixels too, begins with weights learned on ImageNet.
    """

    lacks = ("an extractor", "batch normalization")  # type: ignore[assignment]
    parameters = 85_806_346

    size: Whole = 224
    patch: Count = 16
    width: Count = 768
    depth: Count = 12
    heads: Count = 12

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        from timm.models.vision_transformer import VisionTransformer

        height, width = (self.size, self.size) if self.size else size
        if height % self.patch or width % self.patch:
            raise UserError(f"vit_b_16: patch is {self.patch}, by which {height}x{width} pixels cannot be divided")
        if self.width % self.heads:
            raise UserError(f"vit_b_16: width is {self.width}, which {self.heads} heads cannot share")
        network = VisionTransformer(
            img_size=(height, width),
            patch_size=self.patch,
            in_chans=channels,
            num_classes=0,
            embed_dim=self.width,
            depth=self.depth,
            num_heads=self.heads,
            weight_init="jax",
        )
        return Tower(network, (channels, *size), classes, (height, width) if self.size else None)

    def residual_sums(self, network: nn.Module) -> dict[str, str]:
        return {f"tower.blocks.{block}.mlp.fc2": f"tower.blocks.{block}" for block in range(self.depth)}
