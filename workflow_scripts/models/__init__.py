"""What a model is: an architecture with its recipe, and a network that takes raw images."""

from dataclasses import dataclass, fields

import torch
from torch import nn

from workflow_scripts.common.images import ImageFormat
from workflow_scripts.training.recipe import Recipe


@dataclass(frozen=True)
class Architecture(Recipe):
    """A network to be built and the recipe to train it with: every field of both may be set by a study."""

    def build(self, channels: int, classes: int) -> nn.Module:
        """The untrained network, from images (B, channels, H, W), already normalised, to logits (B, classes)."""
        raise NotImplementedError

    @property
    def recipe(self) -> Recipe:
        """The part of the fields that says how to train."""
        return Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})


class Model(nn.Module):
    """A network with its normalisation inside: images in, logits out.

    `network` has the weights that are saved; `name` and `architecture` say how to build it again; `recipe` is how the
    dataset's victims are trained there, which defenders know as well as attackers do.
    """

    mean: torch.Tensor
    std: torch.Tensor
    protocols = ("default",)
    """The ways in which the model may be asked; evaluation makes one row for each."""

    def __init__(self, name: str, architecture: Architecture, form: ImageFormat):
        super().__init__()
        self.name, self.architecture, self.format = name, architecture, form
        self.recipe = architecture.recipe
        network = architecture.build(form.shape[2], len(form.classes))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for key in ("mean", "std"):
            values = torch.tensor(getattr(form, key)).view(1, -1, 1, 1)
            self.register_buffer(key, values, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float32 logits (B, K) of images (B, C, H, W): uint8, or float in [0, 1]."""
        if images.dtype == torch.uint8:
            images = images.float() / 255
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._bfloat16(images.device)):
            return self.network(normalised).float()

    def _bfloat16(self, device: torch.device) -> bool:
        precision = self.recipe.precision
        return precision == "bf16" or (precision == "auto" and has_bfloat16(device))


class Head(nn.Linear):
    """A last layer in float32 even under autocast: bfloat16 logits tie too easily."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
