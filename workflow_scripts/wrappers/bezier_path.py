"""A curve in the space of a network's weights, kept with it, so that the network may be asked at several places."""

from dataclasses import dataclass

import torch
from torch import nn

from workflow_scripts.common.fields import Share
from workflow_scripts.networks.model import Model, Protocol, Wrapper

NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class BezierPath(Wrapper):
    """The network has the weights of the place `t` on the curve, in [0, 1]; beside them are saved, flat, the weights of
    the curve's three points, `path_points` (3, P), and the running statistics of each place, `path_statistics`.

    Protocols: `default`, the place t; where `sweep`, also `t 0`, `t 0.1`, … `t 1`.
    """

    rewrites = True

    t: Share = 0.1
    sweep: bool = True

    @property
    def places(self) -> tuple[float, ...]:
        """The places on the curve, t first."""
        others = [step / 10 for step in range(11)] if self.sweep else []
        return (self.t, *(place for place in others if place != self.t))

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        return tuple(Protocol("default" if place == self.t else f"t {place:g}") for place in self.places)

    def apply(self, model: Model) -> None:
        points = read_weights(model).repeat(3, 1)
        model.network.register_buffer("path_points", points)
        model.network.register_buffer("path_statistics", read_statistics(model).repeat(len(self.places), 1))

    def ask(self, model: Model, protocol: Protocol) -> None:
        """Give the network the weights and the statistics of the protocol's place."""
        row = self.protocols.index(protocol)
        points, statistics = (model.network.get_buffer(f"path_{key}") for key in ("points", "statistics"))
        shares = points.new_tensor(bernstein(self.places[row]))
        write_weights(model, shares @ points)
        _write(_list_statistics(model), statistics[row])


def bernstein(t: float) -> tuple[float, float, float]:
    """The shares of three points in a place of their Bézier curve."""
    return (1 - t) ** 2, 2 * t * (1 - t), t**2


def read_weights(model: Model) -> torch.Tensor:
    """float32 (P,): all parameters of the network, flat, in their order."""
    return _flatten(list(model.network.parameters()))


def write_weights(model: Model, flat: torch.Tensor) -> None:
    """Give the network these parameters (P,)."""
    _write(list(model.network.parameters()), flat)


def read_statistics(model: Model) -> torch.Tensor:
    """float32 (S,): the running means and variances of all batch normalizations, flat."""
    return _flatten(_list_statistics(model))


def _list_statistics(model: Model) -> list[torch.Tensor]:
    norms = (module for module in model.network.modules() if isinstance(module, NORMALIZATIONS))
    pairs = ((norm.running_mean, norm.running_var) for norm in norms if norm.track_running_stats)
    return [part for pair in pairs for part in pair if part is not None]


def _flatten(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]) if tensors else torch.empty(0)


@torch.no_grad()
def _write(tensors: list[torch.Tensor], flat: torch.Tensor) -> None:
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view(tensor.shape))
