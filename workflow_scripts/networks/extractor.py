"""Frozen networks below others, and copies that compute exactly."""

import copy
from dataclasses import replace
from typing import Any

import torch

from workflow_scripts.networks.inside import watch
from workflow_scripts.networks.model import Model


class Extractor:
    """A model as a frozen function from images to features: the inputs of its classifier. Gradients pass through to
    the images. No Module, so that it is neither trained nor saved with the model above it."""

    def __init__(self, model: Model):
        self.model = model.requires_grad_(False).eval()
        self.width = model.classifier.in_features

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """float32 features (B, width) of images (B, C, H, W): uint8, or float in [0, 1]."""
        return penultimate(self.model, images)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Extractor":
        return self  # frozen: copies of a probe share it


def penultimate(model: Model, images: torch.Tensor) -> torch.Tensor:
    """float32 (B, D): what the classifier is given when the model is asked about these images."""
    caught: list[torch.Tensor] = []
    with watch({"": model.classifier}, lambda name, inputs, outputs: caught.append(inputs.float())):
        model(images)
    return caught[0]


def in_float32(model: Model) -> Model:
    """A copy that computes in float32, and so does what is below it: where small differences or the signs of small
    gradients count, bfloat16 says little."""
    copied = copy.deepcopy(model)
    copied.recipe = replace(model.recipe, precision="fp32")
    if model.extractor:
        copied.extractor = Extractor(in_float32(model.extractor.model))
    return copied
