"""Which GPU a job has on a machine that nobody schedules: a place on one of them, held by a locked file, which the
system frees however the job ends."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from workflow_scripts.common.progress import LOG

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL = 0.2
"""Seconds between two looks for a free place."""


def find_gpus() -> list[str]:
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them; all where it says nothing."""
    if (visible := os.environ.get(VISIBLE)) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    numbers = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return sorted(numbers, key=int)


def count_places(jobs_per_gpu: int) -> int:
    """How many jobs may compute at once; 0 on a machine without a GPU, where cores decide."""
    return jobs_per_gpu * len(find_gpus())


@contextmanager
def hold_gpu(jobs_per_gpu: int) -> Iterator[None]:
    """A block that has a place on a GPU, which is waited for, and in which torch sees that GPU alone. Nothing at 0 jobs
    for each, where there is no GPU, or where Slurm has chosen the one that is visible. Other clones, and other users,
    look at the same places."""
    gpus = find_gpus() if jobs_per_gpu else []
    if not gpus or ("SLURM_JOB_ID" in os.environ and len(gpus) == 1):
        yield
        return
    before = os.environ.get(VISIBLE)
    gpu, place = _take_place(gpus, jobs_per_gpu)
    with place:
        os.environ[VISIBLE] = gpu
        LOG.info("on GPU %s", gpu)
        try:
            yield
        finally:
            os.environ.pop(VISIBLE)
            if before is not None:
                os.environ[VISIBLE] = before


def _take_place(gpus: list[str], jobs_per_gpu: int) -> tuple[str, BinaryIO]:
    """The first free place, on the GPU that has most of them free."""
    while True:
        for number in range(jobs_per_gpu):
            for gpu in gpus:
                if file := _try_place(Path(tempfile.gettempdir(), f"backstop_gpu_{gpu.replace('/', '_')}_{number}")):
                    return gpu, file
        time.sleep(POLL)


def _try_place(path: Path) -> BinaryIO | None:
    """The open file, locked; None if somebody has it. It may be another user's: a lock asks but to read."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        os.fchmod(descriptor, 0o444)  # whatever the umask says
        os.close(descriptor)
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
