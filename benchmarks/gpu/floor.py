"""The physical floor: what an epoch computes and moves, and how long an H200 must take for that."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.setting import Row, Setting
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import iterate_batches
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import make_step

PEAKS = {"bf16": 989e12, "tf32": 494e12, "fp32": 67e12}
"""FLOP/s of an H200, dense, by NVIDIA's data sheet; convolutions in float32 run as TF32 unless torch is told not to."""
BANDWIDTH = 4.8e12
"""Bytes/s of its memory, by the same."""
EPOCH = 50_000


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write, each of their tensors once: as if no two were fused, and nothing
    stayed in a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):  # a view moves nothing
            tensors = [x for x in tree_leaves((args, kwargs, made)) if isinstance(x, torch.Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return made


def take_batch(model: Model, setting: Setting, size: int) -> Batch:
    """The first training images on the device."""
    images = next(iterate_batches(model, setting.train.images[:size], size))
    labels = torch.from_numpy(setting.train.labels[:size])
    return Batch(images, labels.to(images.device), torch.arange(size))


def count_flops(model: Model, setting: Setting, size: int = 8) -> float:
    """Floating-point operations of one image's way forward and back."""
    batch, step = take_batch(model, setting, size), make_step(model, F.cross_entropy)
    with FlopCounterMode(display=False) as counter:
        step(batch)
    return counter.get_total_flops() / size


def count_bytes(model: Model, setting: Setting, size: int) -> int:
    """Bytes of a batch's way forward and back."""
    batch, step = take_batch(model, setting, size), make_step(model, F.cross_entropy)
    with Traffic() as traffic:
        step(batch)
    return traffic.bytes


def count_bytes_an_image(model: Model, setting: Setting) -> float:
    """Those that one more image adds: without what weights move, once a step."""
    small, large = (count_bytes(model, setting, size) for size in (8, 16))
    return (large - small) / 8


def find_peak(precision: str) -> str:
    """The key in PEAKS of what convolutions are computed in."""
    return "tf32" if precision == "fp32" and torch.backends.cudnn.allow_tf32 else precision


def measure(setting: Setting) -> Iterator[Row]:
    """A row for each precision."""
    for precision in ("fp32", "bf16"):
        model = setting.build(precision=precision)
        flops, moved = count_flops(model, setting), count_bytes_an_image(model, setting)
        peak = find_peak(precision)
        yield {
            "precision": precision,
            "GFLOP an image": flops / 1e9,
            "MB an image": moved / 1e6,
            "peak": peak,
            "s an epoch to compute": EPOCH * flops / PEAKS[peak],
            "s an epoch to move": EPOCH * moved / BANDWIDTH,
            "images/s at most": 1 / max(flops / PEAKS[peak], moved / BANDWIDTH),
        }
