"""How far the training loop is from what one core can do at most, as it is measured beside it.

    python -m benchmarks.cpu_floor DATA > benchmarks/cpu_floor.md

DATA: the folder that holds `cifar10_jpeg.parquet`. Two minutes, on a machine that does nothing else.
"""

import datetime
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from benchmarks.gpu.floor import count_bytes_an_image, count_flops
from benchmarks.gpu.setting import Setting, prepare, time_epochs
from workflow_scripts.jobs.step import name_device, step

IMAGES, BATCH, EPOCHS = 768, 128, 4
SIDE, COPIED, TRIES = 2048, 2**28, 7
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main(data: str) -> None:
    """Print the report as Markdown."""
    with tempfile.TemporaryDirectory() as shared:
        setting = prepare(data, Path(shared), False, "")
    peaks = {precision: measure_arithmetic(kind) for precision, kind in PRECISIONS.items()}
    bandwidth = measure_copies()
    print(f"# What one core could do\n\n`python -m benchmarks.cpu_floor DATA`, {datetime.date.today()}, one thread of")
    print(f"{name_device()}, torch {torch.__version__}; the best of {TRIES} tries each:")
    named = ", ".join(f"{peak / 1e9:.0f} GFLOP/s in {precision}" for precision, peak in peaks.items())
    print(f"a product of {SIDE}x{SIDE} matrices or a convolution of 256 channels, whichever is faster, {named};")
    print(f"copying {bandwidth / 1e9:.1f} GB/s, read and written.\n")
    print("| PreAct-ResNet18 | precision | GFLOP an image | MB an image | images/s | share of peak |", end=" ")
    print(f"of bandwidth |\n|{'---|' * 7}")
    for width, precision in product((16, 64), PRECISIONS):
        print_row(setting, width, precision, peaks[precision], bandwidth)


def measure_arithmetic(kind: torch.dtype) -> float:
    """FLOP/s of a product of matrices or of a convolution, whichever is faster: the two are of other libraries."""
    left, right = (torch.randn(SIDE, SIDE, dtype=kind) for _ in range(2))
    images, kernels = torch.randn(16, 256, 32, 32, dtype=kind), torch.randn(256, 256, 3, 3, dtype=kind)
    images = images.contiguous(memory_format=torch.channels_last)
    products = 2 * SIDE**3 / find_fastest(lambda: torch.mm(left, right))
    convolutions = 2 * 9 * 256 * images.numel() / find_fastest(lambda: F.conv2d(images, kernels, padding=1))
    return max(products, convolutions)


def measure_copies() -> float:
    """Bytes/s of a copy that no cache holds, read and written."""
    source = torch.zeros(COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * COPIED / find_fastest(lambda: target.copy_(source))


def find_fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of a few calls."""
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def print_row(setting: Setting, width: int, precision: str, peak: float, bandwidth: float) -> None:
    """The loop's images/s, augmentation and optimizer among it, and the shares of both bounds that these are."""
    model = setting.build(width=width, precision=precision, batch_size=BATCH, epochs=EPOCHS)
    flops, moved = count_flops(model, setting), count_bytes_an_image(model, setting)
    data = setting.train[:IMAGES]
    speed = len(data) / median(time_epochs(model, data, setting.run))
    shares = f"{100 * speed * flops / peak:.0f} % | {100 * speed * moved / bandwidth:.0f} %"
    print(
        f"| width {width} | {precision} | {flops / 1e9:.3f} | {moved / 1e6:.1f} | {speed:.0f} | {shares} |", flush=True
    )


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
