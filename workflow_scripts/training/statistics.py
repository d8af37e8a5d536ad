"""Running statistics of batch normalizations, estimated anew."""

import torch
from torch import nn

from workflow_scripts.common.images import Images
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Resident, to_network


@torch.no_grad()
def estimate_statistics(model: Model, data: Images, batch_size: int) -> None:
    """Set the running means and variances, in place, to the means over the batches of one pass through the data without
    augmentation: weights that no training has met have none of their own (Izmailov et al. 2018, arXiv 1803.05407)."""
    norms = [m for m in model.network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean in place of a moving one
    resident = Resident(data, model.mean.device)
    model.train()
    for positions in resident.positions(batch_size, None):
        model(to_network(resident.images[positions]))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
