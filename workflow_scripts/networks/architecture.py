"""What an architecture is: the network with its recipe, and where its classifier, its units and its stages are."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from workflow_scripts.common.errors import UserError
from workflow_scripts.networks.recipe import Recipe


class Head(nn.Linear):
    """A last layer in float32 even under autocast: bfloat16 logits tie too easily."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


@dataclass(frozen=True)
class Architecture(Recipe):
    """A network to be built and the recipe to train it with: every field of both may be set by a study.

    An architecture with a field that names an auxiliary, `extractor`, stands on that frozen network. The methods below
    say of a built network what pruning and looking inside need; one whose network is made otherwise overrides them.
    """

    normalized = True
    """Whether the network takes normalized images; one that is False takes them in [0, 1]."""
    classifies = True
    """Whether its outputs are logits; an auxiliary may be a network of another kind."""
    lacks = ("an extractor",)
    """What its networks do not have of that which methods say by `needs`."""
    parameters = 0
    """How many weights and biases there are at ten classes, for images of 32x32 pixels and three channels, or for 512
    features of an extractor: tests hold the network against it, so every model states its own."""

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        """The untrained network, from images (B, channels, H, W) of the size (H, W), or features (B, channels) where
        there is an extractor, to logits (B, classes)."""
        raise NotImplementedError

    def classifier(self, network: nn.Module) -> str:
        """The name of the classifier: the last linear layer. UserError if there is none."""
        linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise UserError(
                f"{type(self).__name__} has no linear layer, the last of which is a model's classifier; "
                "end the network in one"
            )
        return linear[-1]

    def units(self, network: nn.Module) -> dict[str, nn.Module]:
        """The modules whose outputs are units, by name in the order of the modules: convolutions, and linear layers
        other than the classifier. Attention's output projection, which torch calls as a function, never shows its
        outputs, so that nothing could be scored there."""
        last = self.classifier(network) if self.classifies else ""
        return {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
            and not isinstance(module, NonDynamicallyQuantizableLinear)
            and name != last
        }

    def unit_axis(self, module: nn.Module) -> int:
        """The axis of a module's outputs along which its units lie: channels (B, C, H, W), or neurons (B, …, D)."""
        return -1 if isinstance(module, nn.Linear) else 1

    def stages(self, network: nn.Module) -> dict[str, nn.Module]:
        """The stages, by name in order: `layer1`, `layer2`, …; else the numbered blocks that lie outermost; else the
        numbered poolings, at which stages end. Empty where there are none."""
        layers = {name: part for name, part in network.named_children() if re.fullmatch(r"layer\d+", name)}
        return layers or _find_numbered_parts(network, _is_block) or _find_numbered_parts(network, _has_pooling)

    def residual_sums(self, network: nn.Module) -> dict[str, str]:
        """The last convolution of each residual branch, by name, with the module whose output is the sum behind it."""
        return {}

    @property
    def recipe(self) -> Recipe:
        """The part of the fields that says how to train."""
        return Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})


def _find_numbered_parts(network: nn.Module, wanted: Callable[[nn.Module], bool]) -> dict[str, nn.Module]:
    """Of the outermost wanted parts that are several of one name but for their numbers, `0` or `denseblock1`, those
    that hold the most weights (a network's blocks lie beside those of its stem), by name in order."""
    alike: dict[int, dict[str, dict[str, nn.Module]]] = {}
    for name, part in network.named_modules():
        numbered = re.fullmatch(r"(.*?)\d+[a-z]?", name)
        if numbered and wanted(part):
            alike.setdefault(name.count("."), {}).setdefault(numbered[1], {})[name] = part
    for _, found in sorted(alike.items()):
        several = [parts for parts in found.values() if len(parts) > 1]
        if several:
            return max(several, key=lambda parts: (_count_weights(parts), len(parts)))
    return {}


def _count_weights(parts: Mapping[str, nn.Module]) -> int:
    return sum(weight.numel() for part in parts.values() for weight in part.parameters())


def _is_block(part: nn.Module) -> bool:
    """Whether it is made of other modules, among them some that compute units."""
    return any(isinstance(module, nn.Conv2d | nn.Linear) for module in part.modules() if module is not part)


def _has_pooling(part: nn.Module) -> bool:
    return any(isinstance(module, nn.MaxPool2d | nn.AvgPool2d) for module in part.modules())
