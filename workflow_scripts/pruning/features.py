"""The units of the last hidden layer: the inputs of the network's linear head."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from workflow_scripts.models import Head, Model
from workflow_scripts.training import inference


def head(model: Model) -> Head:
    """The last linear layer."""
    return [module for module in model.network.modules() if isinstance(module, Head)][-1]


@torch.no_grad()
def features(model: Model, images: np.ndarray) -> torch.Tensor:
    """float32 (N, D) inputs of the head on the CPU, in evaluation mode."""
    caught: list[torch.Tensor] = []
    hook = head(model).register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0].float().cpu()))
    try:
        inference.logits(model, images)
    finally:
        hook.remove()
    return torch.cat(caught)


def mask(model: Model, units: Sequence[int]) -> Callable[[], None]:
    """Cut these features off the head, and return what cuts them off again, after each step of a fine-tuning."""
    chosen = torch.as_tensor(units, dtype=torch.long)
    weight = head(model).weight

    @torch.no_grad()
    def cut() -> None:
        weight[:, chosen] = 0

    cut()
    return cut
