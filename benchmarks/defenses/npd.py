"""Runs BackdoorBench's NPD, which is its authors' code, beside ours: one victim, the same images in the same order.

    python -m benchmarks.defenses.npd CHECKOUT FOLDER > benchmarks/defenses/npd.md

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victims.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import torch

from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, set_scene
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.npd import NeuralPolarizer, find_layer
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Resident, to_network
from workflow_scripts.wrappers.polarizer import Polarized

SEEDS = (0, 1, 2)
FIELDS: dict[str, Any] = {"warm_epochs": 5, "batch_size": 64, "radius": 1.5}
EPOCHS = 50


class Loader:
    """The batches of our passes over the holdout, in their order: those of warming up, and then the others. Floats in
    [0, 1]: the network normalizes by itself."""

    def __init__(self, scene: Scene, run: Run):
        self.resident, self.passes = Resident(scene.holdout, run.device), 0
        self.orders = [run.torch_rng("warm-up/order"), run.torch_rng("npd/order")]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        order = self.orders[self.passes >= FIELDS["warm_epochs"]]
        self.passes += 1
        for rows in self.resident.positions(FIELDS["batch_size"], order):
            labels = self.resident.labels[rows]
            yield to_network(self.resident.images[rows]) / 255, labels, labels, labels, labels


def train_officially(checkout: Path, scene: Scene, run: Run, epochs: int) -> Model:
    """What `defense/npd.py` makes of the victim, put together as one of our networks."""
    module, model, layer = load(checkout, "npd"), scene.fresh().eval(), find_layer(scene.victim)
    size = {"input_height": 16, "input_width": 16, "input_channel": 3}
    weights = {"lmd1": 1.0, "lmd2": 0.4, "lmd3": 0.4, "lmd4": 0.4, "lr": 0.01, "max_init": False, "inner_steps": 2}
    about = {"model": "preactresnet18", "model_name": "convbn", "use_residual": "no", "norm_type": "L2"}
    given = SimpleNamespace(
        **size, **weights, **about, epochs=epochs, warm_epochs=FIELDS["warm_epochs"], device="cpu", dataset="cifar10",
        target_layer_name=f"network.{layer}", trigger_norm=FIELDS["radius"], save_path="",
    )  # fmt: skip
    vars(module).update(args=given, AverageMeter=MagicMock)
    method = module.NPD.__new__(module.NPD)
    method.normalization = method.denormalization = lambda images: images
    method.evaluation = lambda *_: (0.0,) * 6
    polarizer = method.prepare_polarizer(model, given, Loader(scene, run))
    with patch.object(module.logging, "info"):
        method.train_npd(model, polarizer, Loader(scene, run), [], [], epochs, torch.nn.CrossEntropyLoss(), *[None] * 9)
    whole, wrapper = scene.fresh(), Polarized(layer)
    whole.wrap(wrapper)
    wrapper.find_polarizer(whole).load_state_dict(polarizer.state_dict())
    return whole.eval()


def polarizer_of(model: Model) -> dict[str, torch.Tensor]:
    """Its weights."""
    assert isinstance(model.wrapper, Polarized)
    return model.wrapper.find_polarizer(model).state_dict()


def largest_gap(ours: Model, theirs: Model) -> str:
    """The largest relative difference, by ℓ2 norms, of a tensor of the polarizer."""
    pairs = zip(polarizer_of(ours).values(), polarizer_of(theirs).values(), strict=True)
    return f"{max(float((own - other).float().norm() / other.float().norm()) for own, other in pairs):.1e}"


def main(checkout: Path, folder: Path) -> None:
    """Print the comparison as Markdown."""
    first, rows = [], []
    for seed in SEEDS:
        scene = set_scene(folder, seed)
        gaps = []
        for epochs in (1, 2, EPOCHS):
            run = Run("digits", seed)
            theirs = train_officially(checkout, scene, run, epochs)
            ours = NeuralPolarizer(epochs=epochs, **FIELDS)(scene.fresh(), scene.holdout, run)
            gaps.append(largest_gap(ours, theirs))
        first.append(f"| {seed} | {' | '.join(gaps)} |")
        named = {"victim, and what the official code saves as defended": scene.victim, "official": theirs, "here": ours}
        rows += [f"| {seed} | {name} | {scene.describe(model)} |" for name, model in named.items()]
    print(INTRODUCTION, *first, WHOLE, *rows, REASONS, sep="\n")


INTRODUCTION = f"""\
# NPD beside BackdoorBench's

What `python -m benchmarks.defenses.npd` prints. BadNets on digits, {FIELDS["warm_epochs"]} epochs of warming up,
batches of {FIELDS["batch_size"]}, changes of at most {FIELDS["radius"]} (ℓ2). The official `train_npd` runs
from its file. The largest relative difference of a tensor of the polarizer:

| seed | after 1 epoch | after 2 | after {EPOCHS} |
|---|---|---|---|"""
WHOLE = f"""
After {EPOCHS} epochs, in percent:

| seed | | ACC | ASR | RA |
|---|---|---|---|---|"""
REASONS = """
Images move along the signs of gradients, so that rounding turns single pixels around: after one epoch the sides differ
by 2e-5 at most, after the last by up to 4 %, which is up to 4.4 points of ASR at a seed. The authors' code leaves as
much of the backdoor on this network, whose only block in the last stage has a shortcut that the polarizer does not
see."""


if __name__ == "__main__":
    with step(threads=1):
        main(*map(Path, sys.argv[1:]))
