"""MCR's curve beside BackdoorBench's: the same two ends, images, order and places on the curve, float32.

    python -m benchmarks.defenses.mcr CHECKOUT FOLDER

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victim.
"""

import copy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import torch
from torch import nn

from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, set_scene
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.mcr import ModeConnectivityRepair
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Resident
from workflow_scripts.training.statistics import estimate_statistics
from workflow_scripts.wrappers.bezier_path import bernstein, read_weights, write_weights

METHOD = ModeConnectivityRepair(epochs=20, lr=0.1, batch_size=64, curve_epochs=20, curve_lr=0.01)
OFFICIAL_LR = 3e-5
PLACES = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)


def main(checkout: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    scene, module = set_scene(Path(folder)), load(Path(checkout), "mcr")
    end = scene.fresh()
    METHOD.fine_tune(end, scene.holdout, Run("digits", 0))
    print(
        "| epochs of the curve | loss here | official | middle points apart | the way of ours |\n|---|---|---|---|---|"
    )
    for epochs in (1, 2, 5, METHOD.curve_epochs):
        run = Run("digits", 0)
        method = replace(METHOD, curve_epochs=epochs)
        mine = method.train_middle(scene.fresh(), end, scene.holdout, run)
        theirs, losses = bend(module, scene, end, method, zeroed=True)
        line = (read_weights(scene.victim) + read_weights(end)) / 2
        way = float((mine - line).norm())
        told = f"{run.rows[-1]['loss']:.5f} | {losses[-1]:.5f} | {float((mine - theirs).norm()) / way:.1e}"
        print(f"| {epochs} | {told} | {way:.4f} |")
    piled, _ = bend(module, scene, end, replace(METHOD, curve_lr=OFFICIAL_LR), zeroed=False)
    print(f"\nAs it stands, at {OFFICIAL_LR:g}, its middle point goes {float((piled - line).norm()):.4f}.")
    print("\n| t | ACC here | ASR | RA | ACC official, gradients zeroed | ASR | RA | ACC as it stands | ASR | RA |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for t in PLACES:
        cells = (scene.describe(place(scene, end, middle, t)) for middle in (mine, theirs, piled))
        print(f"| {t:g} | {' | '.join(cells)} |")


class Batches:
    """The holdout's, in the order in which ours come, anew in each epoch."""

    def __init__(self, scene: Scene, run: Run):
        self.scene, self.order = scene, run.torch_rng("curve/order")

    def __len__(self) -> int:
        return Resident(self.scene.holdout, torch.device("cpu")).batch_count(METHOD.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        images, labels = self.scene.normalized(self.scene.holdout)
        for rows in Resident(self.scene.holdout, torch.device("cpu")).positions(METHOD.batch_size, self.order):
            yield images[rows], labels[rows]


class Zeroing:
    """An optimizer that lets another network forget its gradients after each step."""

    def __init__(self, optimizer: torch.optim.Optimizer, network: nn.Module):
        self.optimizer, self.network = optimizer, network

    def step(self) -> None:
        """One step, and zeros."""
        self.optimizer.step()
        self.network.zero_grad()


def bend(
    module: Any, scene: Scene, end: Model, method: ModeConnectivityRepair, zeroed: bool
) -> tuple[torch.Tensor, list[float]]:
    """The official middle point (P,), and the losses of its epochs; its gradients pile up unless they are zeroed."""
    first, last, walker = scene.fresh().network, copy.deepcopy(end.network), scene.fresh().network
    bent = scene.fresh()
    write_weights(bent, (read_weights(scene.victim) + read_weights(end)) / 2)
    decay = scene.victim.recipe.weight_decay
    sgd = torch.optim.SGD(bent.network.parameters(), lr=method.curve_lr, momentum=0.9, weight_decay=decay)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, method.curve_epochs)
    optimizer = Zeroing(sgd, walker) if zeroed else sgd
    run, losses = Run("digits", 0), list[float]()
    batches, places = Batches(scene, run), run.torch_rng("mcr/places")
    official, curve = module.MCR.__new__(module.MCR), module.Bezier(3)
    asked, module.print = SimpleNamespace(lr_scheduler="CosineAnnealingLR"), lambda *told: None
    with patch.object(torch.Tensor, "uniform_", lambda tensor, *bounds: tensor.copy_(torch.rand((), generator=places))):
        for _ in range(method.curve_epochs):
            networks, idle = [first, bent.network, last], MagicMock()
            found = official.train_curve_one_epoch(
                asked, walker, curve, idle, idle, networks, [optimizer], [rates], nn.CrossEntropyLoss(), batches, "cpu"
            )
            losses.append(float(found[-1]))
    return read_weights(bent), losses


def place(scene: Scene, end: Model, middle: torch.Tensor, t: float) -> Model:
    """The network of one place on a curve, with statistics of its own."""
    model, (a, b, c) = scene.fresh(), bernstein(t)
    write_weights(model, a * read_weights(scene.victim) + b * middle + c * read_weights(end))
    estimate_statistics(model, scene.holdout, METHOD.batch_size)
    return model


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
