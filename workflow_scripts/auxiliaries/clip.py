"""CLIP, trained on images with their captions."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries.pretrained import Pretrained
from workflow_scripts.models.encoder import Library


@dataclass(frozen=True)
class CLIP(Pretrained):
    """Learning Transferable Visual Models From Natural Language Supervision (Radford et al.; ICML 2021, arXiv
    2103.00020), ViT-B/32: 512 features, the embedding that captions are compared with, before it is put at length 1."""

    hub = "timm/vit_base_patch32_clip_224.openai on the Hugging Face hub"

    library: Library = "open_clip"
    folder: str = "data/clip"
