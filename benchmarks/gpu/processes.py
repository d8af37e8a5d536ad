"""A section in a process of its own, which may fail or be stopped without the others."""

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch

from benchmarks.gpu.setting import Measure, Row, Setting

FAILED = "failed"


def run_section(measure: Measure, setting: Setting, seconds: float) -> Iterator[Row]:
    """The section's rows as they come; of one that fails, or takes longer than this, a last one that says so under
    `failed`. The process is forked: this one must never have asked about a GPU."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_rows, args=(sender, measure, setting))
    process.start()
    sender.close()
    deadline = time.monotonic() + seconds
    try:
        while receiver.poll(max(0.0, deadline - time.monotonic())):
            yield receiver.recv()
    except EOFError:
        process.join(max(1.0, deadline - time.monotonic()))
        if process.exitcode:
            yield {FAILED: f"ended with {process.exitcode}"}
    else:
        yield {FAILED: f"stopped after {seconds:.0f} s"}
    finally:
        if process.is_alive():
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()


def _send_rows(sender: Connection, measure: Measure, setting: Setting) -> None:
    os.setpgid(0, 0)  # those that it starts end with it
    torch.set_num_threads(1)  # as in a job
    try:
        for row in measure(setting):
            sender.send(row)
    except Exception as error:
        sender.send({FAILED: f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
