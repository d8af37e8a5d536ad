"""Several cells at once on the device, and how long one takes to start."""

import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

import torch

from benchmarks.gpu.setting import Row, Setting, wait
from workflow_scripts.common.source import ROOT
from workflow_scripts.training.loop import train

MOST, REPEATS, PATIENCE = 3, 2, 60
"""Cells at once, starts of which the fastest counts, and seconds that cells wait for each other."""
CELL = (
    "import workflow_scripts.training.loop, workflow_scripts.networks.weights, workflow_scripts.jobs.readers, torch;"
    "from workflow_scripts.defenses import tsbd;"
)
STARTS = {
    "python": "pass",
    "and torch": "import torch",
    "and what a cell imports": CELL,
    "and the device": CELL + "import torch.nn.functional as F; device = 'cuda' if torch.cuda.is_available() else 'cpu';"
    "x = torch.zeros(8, 3, 32, 32, device=device); F.conv2d(x, torch.zeros(8, 3, 3, 3, device=device)).sum().item()",
}


def measure_starts(setting: Setting) -> Iterator[Row]:
    """Seconds from nothing to the end of a process that does no more."""
    for what, code in STARTS.items():
        seconds = []
        for _ in range(1 if setting.tiny else REPEATS):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)
            seconds.append(time.perf_counter() - started)
        yield {"what": what, "seconds": min(seconds)}


def measure_beside(setting: Setting) -> Iterator[Row]:
    """Images/s of one, two and three trainings at once, each in its own process."""
    context, alone = get_context("fork"), 0.0
    for count in range(1, MOST + 1):
        barrier, rates = context.Barrier(count), context.SimpleQueue()
        cells = [context.Process(target=_train_beside, args=(setting, barrier, rates)) for _ in range(count)]
        for cell in cells:
            cell.start()
        together = sum(rates.get() for _ in cells)
        for cell in cells:
            cell.join()
        alone = alone or together
        yield {"cells": count, "images/s": together, "of one": together / alone}


def _train_beside(setting: Setting, barrier: Barrier, rates: "SimpleQueue[float]") -> None:
    """Puts its images/s, while all train, into the queue."""
    torch.set_num_threads(1)
    data = setting.speed_images
    model = setting.build(epochs=1)
    train(model, data, model.recipe, setting.run)
    model = setting.build(epochs=2 if setting.tiny else 5)
    wait()
    barrier.wait(PATIENCE)
    started = time.perf_counter()
    train(model, data, model.recipe, setting.run)
    rates.put(model.recipe.epochs * len(data) / (time.perf_counter() - started))
