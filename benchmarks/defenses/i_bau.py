"""Runs BackdoorBench's I-BAU beside ours: one victim, the same images in the same order, the same images changed.

    python -m benchmarks.defenses.i_bau CHECKOUT FOLDER > benchmarks/defenses/i_bau.md

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victims.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import torch

from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, set_scene
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.i_bau import ImplicitUnlearning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Resident, to_network

ROUNDS, BATCH, LR = 10, 64, 1e-3
SEEDS = (0, 1, 2)
METHOD = ImplicitUnlearning(rounds=ROUNDS, batch_size=BATCH, lr=LR, radius=5.0)
UNBOUNDED = ImplicitUnlearning(rounds=ROUNDS, batch_size=BATCH, lr=LR, radius=1e9)
"""Ours without the ball; `unclipped` takes the rest."""


class Loader:
    """The batches of our passes over the holdout, in their order: those of the first unlearning, which the official
    code keeps for all rounds, and then those of each search. Floats in [0, 1]: the network normalizes by itself."""

    def __init__(self, scene: Scene, run: Run):
        self.resident, self.run, self.passes = Resident(scene.holdout, run.device), run, 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, None, None, None]]:
        order = self.run.torch_rng(f"search {self.passes}/order" if self.passes else "round 1/order")
        self.passes += 1
        for rows in self.resident.positions(BATCH, order):
            yield to_network(self.resident.images[rows]) / 255, self.resident.labels[rows], None, None, None


class Official:
    """`defense/i-bau.py`, whose `mitigation` runs on a network and batches of ours; it looks at no test images."""

    def __init__(self, checkout: Path, scene: Scene, run: Run):
        self.module = load(checkout, "i-bau")
        self.model, self.scene, self.run = scene.fresh(), scene, run
        self.changes: list[torch.Tensor] = []
        self.gradients: list[torch.Tensor] = []

    def defend(self) -> Model:
        """The network that it leaves."""
        stream, whole, made = self.run.torch_rng("i-bau/changed"), self.module.fixed_point, torch.zeros_like

        def keep(change: torch.Tensor, parameters: list[Any], *rest: Any) -> Any:
            found = whole(change, parameters, *rest)
            if not self.changes:
                self.changes, self.gradients = [change.detach()], [p.grad.clone() for p in parameters]
            return found

        def sample(rows: list[int], count: int) -> list[int]:
            return torch.randperm(len(rows), generator=stream)[: max(1, count)].tolist()

        adam = torch.optim.Adam(self.model.parameters(), lr=LR)
        with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
            common = {"device": "cpu", "log": folder, "save_path": folder, "batch_size": BATCH, "num_workers": 0}
            shape = {"input_height": 16, "input_width": 16, "input_channel": 3, "num_classes": 10}
            given = SimpleNamespace(
                **common, **shape, K=5, n_rounds=ROUNDS, random_seed=0, model="", dataset="", pin_memory=False
            )
            replaced = {
                "args": given,
                "fixed_point": keep,
                "generate_cls_model": lambda *_: self.model,
                "argparser_opt_scheduler": lambda *_: (adam, None),
                "choose_index": lambda *_: [0],
            }
            vars(self.module).update(replaced)
            stack.enter_context(patch.object(self.module.random, "sample", sample))
            loader = Loader(self.scene, self.run)
            stack.enter_context(patch.object(torch.utils.data, "DataLoader", lambda *_, **__: loader))
            stack.enter_context(patch.object(torch, "zeros_like", lambda tensor, **_: made(tensor)))
            method = self.module.i_bau.__new__(self.module.i_bau)
            method.args, method.eval_step = given, lambda *_: (0.0,) * 6
            method.result = {"model": self.model.state_dict(), "clean_train": MagicMock()} | {
                key: MagicMock() for key in ("bd_test", "clean_test")
            }
            method.mitigation()
        return self.model.eval()


@contextmanager
def unclipped() -> Iterator[None]:
    """A block in which images are not clipped to [0, 1]."""
    clamp = torch.Tensor.clamp
    with patch.object(torch.Tensor, "clamp", lambda t, *at, **named: t if at == (0, 1) else clamp(t, *at, **named)):
        yield


def compare_first_step(checkout: Path, scene: Scene, run: Run) -> tuple[str, Model]:
    """How far the first change and gradients are apart, unbounded as the official ones; and what the official code
    leaves after all rounds."""
    official, model = Official(checkout, scene, run), scene.fresh()
    left = official.defend()
    with unclipped():
        change = UNBOUNDED.search(model, scene.holdout, Run("digits", run.seed), "search 1")
        batch = next(iter(Loader(scene, run)))
        move = UNBOUNDED.make_step(model, change, run.torch_rng("i-bau/changed"))
        move(SimpleNamespace(images=255 * batch[0], labels=batch[1]))  # type: ignore[arg-type]
    ours = [p.grad for p in model.network.parameters() if p.grad is not None]
    gap = max(relative(own, theirs) for own, theirs in zip(ours, official.gradients, strict=True))
    return f"{float(change.norm()):.3f} | {relative(change, official.changes[0]):.1e} | {gap:.1e}", left


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The ℓ2 norm of the difference, of that of theirs."""
    return float((ours - theirs).norm() / theirs.norm())


def main(checkout: Path, folder: Path) -> None:
    """Print the comparison as Markdown."""
    first, rows = [], []
    for seed in SEEDS:
        scene = set_scene(folder, seed)
        found, left = compare_first_step(checkout, scene, Run("digits", seed))
        first.append(f"| {seed} | {found} |")
        with unclipped():
            unbounded = UNBOUNDED(scene.fresh(), scene.holdout, Run("digits", seed))
        bounded = METHOD(scene.fresh(), scene.holdout, Run("digits", seed))
        named = {"victim": scene.victim, "official": left, "here, unbounded": unbounded, "here": bounded}
        rows += [f"| {seed} | {name} | {scene.describe(model)} |" for name, model in named.items()]
    print(INTRODUCTION, *first, WHOLE, *rows, REASONS, sep="\n")


INTRODUCTION = f"""\
# I-BAU beside BackdoorBench's

What `python -m benchmarks.defenses.i_bau` prints. BadNets on digits, {ROUNDS} rounds of batches of {BATCH}, Adam at
{LR:g} without AMSGrad, both sides on images in [0, 1], as the authors' own code has them. The official `mitigation`
runs from its file; without ball and clipping, as that is, the first change and the first implicit gradients are:

| seed | norm of the change | its relative difference | largest relative difference of a gradient |
|---|---|---|---|"""
WHOLE = """
After all rounds, in percent:

| seed | | ACC | ASR | RA |
|---|---|---|---|---|"""
REASONS = """
The first steps are the same. Over all rounds single seeds are up to three points of ACC apart, the means of `official`
and `here, unbounded` 0.2, their ASR 0.7: batches are drawn anew here, and the loss of the fixed point is that of the
same batch. No two images in [0, 1] of this size are further apart than 27.7: the official change is five to nine times
as long, and makes images that nobody can show the network. The ball and the clipping cost some of the effect: 1 to 10 %
of ASR are left, where unbounded changes leave 0 to 2 %, for one point more of ACC in the mean. In batches of 64 the
official code would change 1 % of the images, that is none; for the comparison it changes one."""


if __name__ == "__main__":
    with step(threads=1):
        main(*map(Path, sys.argv[1:]))
