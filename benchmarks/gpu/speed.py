"""How fast the training loop is, and what it spends beside the network's own work."""

from collections.abc import Iterator
from itertools import product
from statistics import median

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.floor import PEAKS, count_flops, find_peak, take_batch
from benchmarks.gpu.setting import Row, Setting, time_call, time_epochs, wait
from workflow_scripts.training.loader import Resident
from workflow_scripts.training.loop import make_step

REPEATS, SHOWN = 20, 6
"""How often a step is repeated, and how many kinds of kernels are named."""


def measure_loop(setting: Setting) -> Iterator[Row]:
    """Images/s of `train`, and of its step the share that is not the way forward and back of one resident batch; with
    `tuned`, cuDNN tries its algorithms out first."""
    for tuned, precision, size in product((False, True), ("fp32", "bf16"), (32, 64) if setting.tiny else (128, 512)):
        torch.backends.cudnn.benchmark = tuned
        model, data = setting.build(precision=precision, batch_size=size, epochs=4), setting.speed_images
        batches = Resident(data, setting.run.device).batch_count(size)
        step = median(time_epochs(model, data, setting.run)) / batches
        passes, peak = time_passes(setting, precision, size), PEAKS[find_peak(precision)]
        yield {
            "precision": precision,
            "batch": size,
            "tuned": tuned,
            "images/s": size / step,
            "ms a step": 1000 * step,
            "ms forward and back": 1000 * passes,
            "outside": 1 - passes / step,
            "share of peak": size / step * count_flops(model, setting) / peak,
        }


def time_passes(setting: Setting, precision: str, size: int) -> float:
    """Seconds forward and back of a batch that is on the device already."""
    model = setting.build(precision=precision, batch_size=size)
    batch, step = take_batch(model, setting, size), make_step(model, F.cross_entropy)

    def go() -> None:
        model.zero_grad()
        step(batch)

    return time_call(go, 3 if setting.tiny else REPEATS)


def measure_kernels(setting: Setting) -> Iterator[Row]:
    """How long the device computes in that time, and at what: what is left of it the device waits for the host."""
    own = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    activity = ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU
    for precision, size in product(("fp32", "bf16"), (32,) if setting.tiny else (128, 512)):
        passes = time_passes(setting, precision, size)
        model = setting.build(precision=precision, batch_size=size)
        batch, step = take_batch(model, setting, size), make_step(model, F.cross_entropy)
        step(batch)
        wait()
        with profile(activities=[activity]) as found:
            step(batch)
            wait()
        spent = {event.key: getattr(event, own) / 1000 for event in found.key_averages()}
        busy = sum(spent.values())
        first = sorted(spent, key=lambda key: -spent[key])[:SHOWN]
        yield {
            "precision": precision,
            "batch": size,
            "ms forward and back": 1000 * passes,
            "ms of kernels": busy,
            "idle": 1 - busy / (1000 * passes),
            "most of it": ", ".join(f"{key[:40]} {100 * spent[key] / busy:.0f} %" for key in first),
        }
