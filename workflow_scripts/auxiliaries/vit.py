"""A vision transformer, trained on ImageNet-21k and fine-tuned on ImageNet."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries.pretrained import Pretrained


@dataclass(frozen=True)
class ViT(Pretrained):
    """An Image is Worth 16x16 Words (Dosovitskiy et al.; ICLR 2021, arXiv 2010.11929), ViT-B/16: 768 features."""

    hub = "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k on the Hugging Face hub"

    folder: str = "data/vit"
