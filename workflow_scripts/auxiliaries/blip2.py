"""BLIP-2's image encoder."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries.pretrained import Pretrained
from workflow_scripts.models.encoder import Library


@dataclass(frozen=True)
class BLIP2(Pretrained):
    """BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models (Li, Li,
    Savarese, Hoi; ICML 2023, arXiv 2301.12597): the class token of its ViT-g, 1,408 features; without the querying
    transformer, whose answer is of 32 tokens, and without the language model."""

    hub = "Salesforce/blip2-opt-2.7b on the Hugging Face hub"

    library: Library = "transformers"
    folder: str = "data/blip2"
