"""From the host to the device."""

from collections.abc import Sequence

import torch


def send(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The values on the device. A copy out of ordinary memory makes the host wait for all that a GPU has to do; one out
    of pinned memory does not."""
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def send_all(parts: Sequence[torch.Tensor], device: torch.device) -> Sequence[torch.Tensor]:
    """Tensors of one type, (N, …) of any N, by one copy."""
    return send(torch.cat(list(parts)), device).split([len(part) for part in parts])
