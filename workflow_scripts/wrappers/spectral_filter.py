"""A filter of the batch's spectrum behind one stage of a network."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.networks.inside import black_images, find_stage, stage_activations
from workflow_scripts.networks.model import Model, Protocol, Wrapper
from workflow_scripts.networks.spectrum import SpectralFilter, Spectrum

SIZES = (1, 8, 32, 512)
SHARES = (0.01, 0.5, 0.9)
NORMALIZATIONS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Filtered(Spectrum, Wrapper):
    """The stage becomes a sequence of `stage`, `filter` and, where the field asks for it, `norm`.

    Protocols: `homogeneous`, clean and triggered images never in one batch; `mixed`, a tenth of each batch triggered;
    `running`, every image by itself, filtered by the directions that training saw. With `sweep` also `batch 8`
    (homogeneous, of eight) and its like, and `mixed 0.5` and its like.
    """

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        size = self.batch_size
        main = (Protocol("homogeneous", size), Protocol("mixed", size, 0.1), Protocol("running"))
        sizes = (Protocol(f"batch {other}", other) for other in SIZES)
        shares = (Protocol(f"mixed {share}", size, share) for share in SHARES)
        return (*main, *sizes, *shares) if self.sweep else main

    def apply(self, model: Model) -> None:
        name = find_stage(model, self.stage)
        stage = model.network.get_submodule(name)
        shape = stage_activations(model, name, black_images(model, 1)).shape[1:]
        parts: OrderedDict[str, nn.Module] = OrderedDict(stage=stage, filter=SpectralFilter(self, shape.numel()))
        if self.norm == "always" or (self.norm == "auto" and not _is_normalized_after(model.network, name)):
            if len(shape) != 3:
                raise UserError(
                    f"eigenguard: norm is {self.norm!r}, which normalizes channels, but stage {self.stage} of "
                    f"{model.name} gives {tuple(shape)}; never is the norm for every network"
                )
            parts["norm"] = nn.BatchNorm2d(shape[0])
        model.network.set_submodule(name, nn.Sequential(parts).to(model.mean.device))

    def ask(self, model: Model, protocol: Protocol) -> None:
        for module in model.network.modules():
            if isinstance(module, SpectralFilter):
                module.running = protocol.name == "running"


def _is_normalized_after(network: nn.Module, stage: str) -> bool:
    """Whether a normalization comes after this stage, in the order in which the network names its parts: of channels or
    of tokens, for either undoes a common factor."""
    names = [name for name, _ in network.named_modules()]
    last = max(place for place, name in enumerate(names) if f"{name}.".startswith(f"{stage}."))
    return any(isinstance(network.get_submodule(name), NORMALIZATIONS) for name in names[last + 1 :])
