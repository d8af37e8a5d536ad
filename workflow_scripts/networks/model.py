"""A model: a network that takes raw images, with what is needed to build it again."""

import copy
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat
from workflow_scripts.networks.architecture import Architecture, Head
from workflow_scripts.networks.hooks import watch


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

    judges = False
    """Whether it judges inputs: then evaluation asks for the `score` of every image, and rejects those above
    `threshold`."""
    rewrites = False
    """Whether `ask` gives the network weights that are kept elsewhere."""

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The ways in which the wrapped model may be asked."""
        return (Protocol(),)

    @property
    def threshold(self) -> float:
        """The highest score of an image that is not rejected."""
        raise NotImplementedError

    def apply(self, model: "Model") -> None:
        """Change the model's network in place, before its weights are loaded."""

    def ask(self, model: "Model", protocol: Protocol) -> None:
        """Prepare the model for the questions of a protocol."""

    def score(self, model: "Model", images: torch.Tensor) -> torch.Tensor:
        """float32 (B,): how suspicious each image (B, C, H, W) is."""
        raise NotImplementedError


class Model(nn.Module):
    """A network with its normalization inside: images in, logits out.

    `network` has the weights that are saved; `name` and `architecture` say how to build it again; `recipe` is how the
    dataset's victims are trained there, which defenders know as well as attackers do. `extractor`: the frozen network
    whose features `network` takes in place of images. `wrapper`: what a defense added to the architecture.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, name: str, architecture: Architecture, form: ImageFormat, extractor: "Extractor | None" = None):
        super().__init__()
        self.name, self.architecture, self.format, self.extractor = name, architecture, form, extractor
        self.recipe = architecture.recipe
        self.wrapper: Wrapper | None = None
        height, width, channels = (1, 1, extractor.width) if extractor else form.shape
        network = architecture.build(channels, len(form.classes), (height, width))
        if architecture.classifies:
            network = _put_head(network, architecture.classifier(network), name, len(form.classes))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        neutral = {"mean": [0.0] * len(form.mean), "std": [1.0] * len(form.std)}
        for key in ("mean", "std"):
            values = torch.tensor(getattr(form, key) if architecture.normalized else neutral[key]).view(1, -1, 1, 1)
            self.register_buffer(key, values, persistent=False)

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The ways in which the model may be asked; evaluation makes one row for each."""
        return self.wrapper.protocols if self.wrapper else (Protocol(),)

    def units(self) -> dict[str, nn.Module]:
        """The modules whose outputs are units, by name in the order of the modules."""
        return self.architecture.units(self.network)

    @property
    def classifier_name(self) -> str:
        """The name of the classifier in the network."""
        return self.architecture.classifier(self.network)

    @property
    def classifier(self) -> nn.Linear:
        """The last linear layer, whose inputs are the features and whose outputs are the logits."""
        return cast(nn.Linear, self.network.get_submodule(self.classifier_name))

    def wrap(self, wrapper: Wrapper) -> None:
        """Change the network as the wrapper does, and remember that for the file."""
        wrapper.apply(self)
        self.wrapper = wrapper

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float32 logits (B, K) of images (B, C, H, W): uint8, or float in [0, 1]; or of the extractor's features
        (B, D)."""
        inputs = self.embed(images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._bfloat16(images.device)):
            return self.network(inputs).float()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """What the network is given: normalized images, or the extractor's features, which may be given as such."""
        if self.extractor is not None:
            return images.float() if images.ndim == 2 else self.extractor(images)
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def _bfloat16(self, device: torch.device) -> bool:
        precision = self.recipe.precision
        return precision == "bf16" or (precision == "auto" and has_bfloat16(device))


def _put_head(network: nn.Module, name: str, model: str, classes: int) -> nn.Module:
    """The network with a `Head` of these weights for its last linear layer. UserError if that is not the classifier."""
    last = cast(nn.Linear, network.get_submodule(name))
    if last.out_features != classes:
        raise UserError(
            f"{model}: the last linear layer, {name}, gives {last.out_features} values and there are {classes} "
            "classes: it is taken for the classifier, so that it must give one for each"
        )
    if isinstance(last, Head):
        return network
    head = Head(last.in_features, classes, bias=last.bias is not None, device="meta")
    head.weight, head.bias = last.weight, last.bias
    if not name:  # the network is its classifier
        return head
    network.set_submodule(name, head)
    return network


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


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
