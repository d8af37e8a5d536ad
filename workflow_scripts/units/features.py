"""The units of the last hidden layer: the inputs of the network's linear head."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from workflow_scripts.networks.model import Model, penultimate
from workflow_scripts.training import inference


@torch.no_grad()
def penultimate_features(model: Model, images: np.ndarray) -> torch.Tensor:
    """float32 (N, D) inputs of the head on the CPU, in evaluation mode."""
    model.eval()
    return torch.cat([penultimate(model, batch) for batch in inference.iterate_batches(model, images)]).cpu()


def prune_features(model: Model, units: Sequence[int]) -> Callable[[], None]:
    """Cut these features off the head, and return what cuts them off again, after each step of a fine-tuning."""
    weight = model.classifier.weight
    chosen = torch.as_tensor(units, dtype=torch.long, device=weight.device)

    @torch.no_grad()
    def cut() -> None:
        weight[:, chosen] = 0

    cut()
    return cut
