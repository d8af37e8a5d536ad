"""What a model is: an architecture with its recipe, and a network that takes raw images."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from workflow_scripts.common.images import ImageFormat
from workflow_scripts.training.recipe import Recipe


@dataclass(frozen=True)
class Architecture(Recipe):
    """A network to be built and the recipe to train it with: every field of both may be set by a study.

    An architecture with a field `extractor` stands on a frozen network, the auxiliary of that name.
    """

    normalised = True
    """Whether the network takes normalised images; one that is False takes them in [0, 1]."""

    def build(self, channels: int, classes: int) -> nn.Module:
        """The untrained network, from images (B, channels, H, W), or features (B, channels) where there is an
        extractor, to logits (B, classes)."""
        raise NotImplementedError

    @property
    def recipe(self) -> Recipe:
        """The part of the fields that says how to train."""
        return Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})


@dataclass(frozen=True)
class Protocol:
    """How a model is asked, where its answer to an image hangs on more than the image.

    batch: images asked together, 0 where it makes no difference. triggered: the share of triggered images in each
    batch; None: clean and triggered images are never in one batch.
    """

    name: str = "default"
    batch: int = 0
    triggered: float | None = None


@dataclass(frozen=True)
class Wrapper:
    """A change of a network that a defense makes; `wrappers/` has one file for each. Its fields stand in the metadata
    of the saved weights, so they must be plain values."""

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The ways in which the wrapped model may be asked."""
        return (Protocol(),)

    def apply(self, model: "Model") -> None:
        """Change the model's network in place, before its weights are loaded."""
        raise NotImplementedError

    def ask(self, model: "Model", protocol: Protocol) -> None:
        """Prepare the model for the questions of a protocol."""


class Model(nn.Module):
    """A network with its normalisation inside: images in, logits out.

    `network` has the weights that are saved; `name` and `architecture` say how to build it again; `recipe` is how the
    dataset's victims are trained there, which defenders know as well as attackers do. `extractor`: the frozen network
    whose features `network` takes in place of images. `wrapper`: what a defense added to the architecture.
    """

    mean: torch.Tensor
    std: torch.Tensor
    extractor: "Extractor | None"

    def __init__(self, name: str, architecture: Architecture, form: ImageFormat, extractor: "Extractor | None" = None):
        super().__init__()
        self.name, self.architecture, self.format = name, architecture, form
        self.recipe = architecture.recipe
        self.wrapper: Wrapper | None = None
        self.__dict__["extractor"] = extractor  # not a module of this one: neither trained nor saved with it
        network = architecture.build(extractor.width if extractor else form.shape[2], len(form.classes))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        neutral = {"mean": [0.0] * len(form.mean), "std": [1.0] * len(form.std)}
        for key in ("mean", "std"):
            values = torch.tensor(getattr(form, key) if architecture.normalised else neutral[key]).view(1, -1, 1, 1)
            self.register_buffer(key, values, persistent=False)

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The ways in which the model may be asked; evaluation makes one row for each."""
        return self.wrapper.protocols if self.wrapper else (Protocol(),)

    def wrap(self, wrapper: Wrapper) -> None:
        """Change the network as the wrapper does, and remember that for the file."""
        wrapper.apply(self)
        self.wrapper = wrapper

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float32 logits (B, K) of images (B, C, H, W): uint8, or float in [0, 1]; or of the extractor's features
        (B, D)."""
        inputs = images if images.ndim == 2 else self.extractor(images) if self.extractor else self._normalise(images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._bfloat16(images.device)):
            return self.network(inputs).float()

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def _bfloat16(self, device: torch.device) -> bool:
        precision = self.recipe.precision
        return precision == "bf16" or (precision == "auto" and has_bfloat16(device))


class Head(nn.Linear):
    """A last layer in float32 even under autocast: bfloat16 logits tie too easily."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def head(model: Model) -> Head:
    """The last linear layer: the classifier."""
    return [module for module in model.network.modules() if isinstance(module, Head)][-1]


class Extractor:
    """A model as a frozen function from images to features: the inputs of its classifier. Gradients pass through to
    the images."""

    def __init__(self, model: Model):
        self.model = model.requires_grad_(False).eval()
        self.width = head(model).in_features

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """float32 features (B, width) of images (B, C, H, W): uint8, or float in [0, 1]."""
        return features_of(self.model, images)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Extractor":
        return self  # frozen: copies of a probe share it


def features_of(model: Model, images: torch.Tensor) -> torch.Tensor:
    """float32 (B, D): what the classifier is given when the model is asked about these images."""
    caught: list[torch.Tensor] = []
    keep: Callable[..., None] = lambda module, inputs: caught.append(inputs[0].float())  # noqa: E731
    hook = head(model).register_forward_pre_hook(keep)
    try:
        model(images)
    finally:
        hook.remove()
    return caught[0]


def in_float32(model: Model) -> Model:
    """A copy that computes in float32, and so does what is below it: where small differences or the signs of small
    gradients count, bfloat16 says little."""
    copied = copy.deepcopy(model)
    copied.recipe = replace(model.recipe, precision="fp32")
    if model.extractor:
        copied.__dict__["extractor"] = Extractor(in_float32(model.extractor.model))
    return copied


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
