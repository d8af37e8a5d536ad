"""What the numbers are of."""

import platform
from collections.abc import Iterator

import torch

from benchmarks.gpu.setting import Row, Setting
from workflow_scripts.jobs.step import name_device


def measure_device(setting: Setting) -> Iterator[Row]:
    """The device and the versions."""
    yield {
        "device": name_device(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuDNN": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
        "training images": len(setting.train),
    }
