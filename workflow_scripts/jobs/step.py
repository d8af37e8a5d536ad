"""One job: its threads, its log, its clock, and one line in place of a traceback."""

import json
import logging
import os
import platform
import re
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.progress import LOG
from workflow_scripts.common.source import ROOT
from workflow_scripts.jobs.gpus import hold_gpu


@contextmanager
def step(
    threads: int = 1, log: str | None = None, costs: str | None = None, jobs_per_gpu: int = 0
) -> Iterator[Counter[str]]:
    """One job: fixes the threads, waits for a place on a GPU if it asks for one, writes its log and what it cost, and
    ends with one line, not a traceback.

    The last line of the log says that it is `done`, or why it is not. An error that is nobody's input leaves its
    traceback there; without a log it is raised. Given is what counts the passes of its networks, for its costs.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the order of a sum hangs on it; for a torch not imported yet
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    if log:
        _open_log(log)
    passes = Counter[str]()
    try:
        with hold_gpu(jobs_per_gpu):
            started = time.perf_counter()
            yield passes
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
    except Exception as error:
        if not log:
            raise
        LOG.error(traceback.format_exc())
        _fail(f"{type(error).__name__}: {' '.join(str(error).split())} ({_find_place(error)})", log)
    seconds = time.perf_counter() - started
    if costs:
        files.write_json(costs, _costs(seconds, passes))
    LOG.info("done in %.1f s", seconds)


def _open_log(path: str) -> None:
    """What the job and its libraries say goes to a file of its own, anew each time that the job is tried."""
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # on a full disk: no traceback on the screen for each line
    LOG.setLevel(logging.INFO)


def _find_place(error: Exception) -> str:
    """The last line of this project's code that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is this file's
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)] or frames
    name = Path(own[-1].filename)
    return f"{name.relative_to(ROOT.parent) if name.is_relative_to(ROOT) else name.name}, line {own[-1].lineno}"


def _fail(reason: str, log: str = "") -> NoReturn:
    LOG.error("failed: %s", reason)
    sys.exit(f"backstop: {reason}{f'; its traceback is in {log}' if log else ''}")


def _costs(seconds: float, passes: Counter[str]) -> dict[str, Any]:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    if torch := sys.modules.get("torch"):
        versions["torch"] = torch.__version__
        if torch.cuda.is_available():
            memory = torch.cuda.max_memory_allocated() / 2**20
    cost = {"seconds": round(seconds, 3), "peak_memory_mb": round(memory, 1), "device": name_device()}
    cost |= {f"{way}_passes": passes[way] for way in ("forward", "backward")}
    return cost | {"versions": json.dumps(versions, sort_keys=True)}


def name_device() -> str:
    """The GPU, where PyTorch has been imported and sees one, or else the processor."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    with suppress(OSError):
        if found := re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M):
            return found[1]
    return platform.processor() or platform.machine()
