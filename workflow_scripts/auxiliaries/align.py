"""ALIGN, trained on noisy captions."""

from dataclasses import dataclass

from workflow_scripts.auxiliaries.pretrained import Pretrained
from workflow_scripts.models.encoder import Library


@dataclass(frozen=True)
class ALIGN(Pretrained):
    """Scaling Up Visual and Vision-Language Representation Learning With Noisy Text Supervision (Jia et al.; ICML 2021,
    arXiv 2102.05918): the pooled features of its EfficientNet. The weights are Kakao Brain's, trained on COYO-700M."""

    hub = "kakaobrain/align-base on the Hugging Face hub"

    library: Library = "transformers"
    folder: str = "data/align"
