"""Any network of PyTorch Image Models."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from workflow_scripts.common.fields import TimmName, Whole
from workflow_scripts.models._libraries import Tower
from workflow_scripts.networks.architecture import Architecture


@dataclass(frozen=True)
class Timm(Architecture):
    """An untrained network below a linear classifier (Wightman 2019, github.com/huggingface/pytorch-image-models).

    architecture: its name there, without a tag of weights. size: pixels of the square that every image is stretched to;
    0: images as they are, of 32 pixels which many networks leave one position. tiny: in its stead the network that timm
    tests the file with in which it stands (`test_convnext`, `test_vit`), where there is one.
    """

    parameters = 27_827_818

    architecture: TimmName = "convnext_tiny"
    size: Whole = 0
    tiny: bool = False

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        import timm

        name = _find_tiny(self.architecture) if self.tiny else self.architecture
        stretched = (self.size, self.size) if self.size else None
        told = timm.get_pretrained_cfg(name, allow_unregistered=False)
        sized: dict[str, Any] = {"img_size": stretched or size} if told and told.fixed_input_size else {}
        network = timm.create_model(name, in_chans=channels, num_classes=0, **sized)
        return Tower(network, (channels, *size), classes, stretched)

    def units(self, network: nn.Module) -> dict[str, nn.Module]:
        silent: frozenset[str] = network.silent  # type: ignore[assignment]
        return {name: unit for name, unit in super().units(network).items() if name not in silent}


def _find_tiny(architecture: str) -> str:
    """The smallest network of the same file of timm, of those by which it is tested; else the architecture itself."""
    import timm

    home = timm.model_entrypoint(architecture).__module__.rpartition(".")[2]
    return next(iter(timm.list_models("test_*", module=home)), architecture)
