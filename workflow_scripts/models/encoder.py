"""Image encoders of three libraries, below a classifier: what pretrained extractors are."""

import importlib
import json
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Count
from workflow_scripts.networks.architecture import Architecture, Head
from workflow_scripts.networks.recipe import Precision

Library = Literal["timm", "open_clip", "transformers"]


@dataclass(frozen=True)
class Encoder(Architecture):
    """The pooled features of an encoder; the auxiliary `pretrained` finds these fields and fills in the weights.

    config: JSON text of `model`, what the library builds the network from, and of the `mean` and `std` that it takes
    off images in [0, 1]. size: pixels of the square that every image is stretched to, whole, by `interpolation`;
    one of a single channel is shown as gray. features: how many there are.
    """

    normalized = False
    parameters = 11_181_642

    library: Library = "timm"
    config: str = '{"model": {"architecture": "resnet18"}, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    size: Count = 224
    features: Count = 512
    precision: Precision = "fp32"

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        if channels not in (1, 3):
            raise UserError(f"encoder: images of {channels} channels; those of one or three can be encoded")
        return Encoding(self, classes)


class Encoding(nn.Module):
    """`tower`, the library's network, and `linear`."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, shape: Encoder, classes: int):
        super().__init__()
        config = json.loads(shape.config)
        self.size, self.interpolation = (shape.size, shape.size), shape.interpolation
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(config[key]).view(1, 3, 1, 1), persistent=False)
        self.tower = build_tower(shape.library, config["model"])
        self.linear = Head(shape.features, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) of images (B, 1 or 3, H, W) in [0, 1]."""
        large = F.interpolate(images.expand(-1, 3, -1, -1), self.size, mode=self.interpolation, antialias=True)
        return self.linear(pool(self.tower((large.clamp(0, 1) - self.mean) / self.std)))


def build_tower(library: Library, model: dict[str, Any]) -> nn.Module:
    """The untrained network: for timm of `architecture` and `model_args`, for open_clip the image tower of `embed_dim`,
    `vision_cfg` and `quick_gelu`, for transformers the model of a configuration."""
    module = import_library(library)
    if library == "timm":
        return module.create_model(
            model["architecture"], pretrained=False, num_classes=0, **model.get("model_args", {})
        )
    if library == "open_clip":
        return module.model._build_vision_tower(**model)  # private, but CLIP as a whole has a text tower too
    config = module.AutoConfig.for_model(**model)
    return find_network_class(config)(config)


def find_network_class(config: Any) -> Any:
    """The class of transformers that a configuration is of: `CLIPVisionModel` of a `CLIPVisionConfig`."""
    return getattr(import_library("transformers"), type(config).__name__.removesuffix("Config") + "Model")


def pool(answer: Any) -> torch.Tensor:
    """(B, D): what the library's network gives for a batch, as one vector for each image."""
    return getattr(answer, "pooler_output", answer).flatten(1)


def import_library(library: Library) -> Any:
    """The library; UserError if it is not installed."""
    try:
        return importlib.import_module(library)
    except ImportError:
        raise UserError(f"{library} is not installed, which this needs: pip install '.[extractors]'") from None
