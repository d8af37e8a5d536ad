"""One job: its threads, its clock, and one line in place of a traceback."""

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError


@contextmanager
def step(threads: int = 1, costs: str | None = None) -> Iterator[None]:
    """One job: fixes the threads, writes what it cost, and ends with one line, not a traceback, on a UserError."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the order of a sum hangs on it; for a torch not imported yet
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    started = time.perf_counter()
    try:
        yield
    except UserError as error:
        sys.exit(f"backstop: {error}")
    if costs:
        files.write_json(costs, _costs(time.perf_counter() - started))


def _costs(seconds: float) -> dict[str, Any]:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    device = platform.processor() or platform.machine()
    if torch := sys.modules.get("torch"):
        versions["torch"] = torch.__version__
        if torch.cuda.is_available():
            device = torch.cuda.get_device_name()
            memory = torch.cuda.max_memory_allocated() / 2**20
    cost = {"seconds": round(seconds, 3), "peak_memory_mb": round(memory, 1), "device": device}
    return cost | {"versions": json.dumps(versions, sort_keys=True)}
