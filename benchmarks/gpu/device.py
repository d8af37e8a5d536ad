"""What the numbers are of."""

import platform
from collections.abc import Iterator

import torch

from benchmarks.gpu.setting import Row, Setting


def measure_device(setting: Setting) -> Iterator[Row]:
    """The device and the versions."""
    on_gpu = torch.cuda.is_available()
    yield {
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuDNN": torch.backends.cudnn.version() if on_gpu else None,
        "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
        "training images": len(setting.train),
    }
