"""RNP beside BackdoorBench's: one victim, the same images in the same order, float32.

    python -m benchmarks.defenses.rnp CHECKOUT FOLDER

CHECKOUT is one of github.com/SCLBD/BackdoorBench; FOLDER keeps the victim.
"""

import copy
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from benchmarks.compare_tsbd import executed
from benchmarks.defenses._official import load
from benchmarks.defenses._scene import Scene, pruned_row, replace_norms, set_scene, with_weights
from benchmarks.defenses._thresholds import compare_masks, make_run, select_there
from workflow_scripts.common.images import Images
from workflow_scripts.defenses.rnp import ReconstructiveNeuronPruning
from workflow_scripts.jobs.step import step
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Resident
from workflow_scripts.units.masks import MaskedNetwork, Masks, prune, prune_fallen, units_below

METHOD = ReconstructiveNeuronPruning(batch_size=64, max_drop=0.05)
UNCLIPPED = replace(METHOD, max_norm=1e9)
THRESHOLD = 0.7
"""The official default."""


def main(checkout: str, folder: str) -> None:
    """Print the comparison as Markdown."""
    scene, official = set_scene(Path(folder)), Official(Path(checkout))
    fit, validation = scene.holdout.split()
    compare_unlearning(scene, official, fit)
    print()
    unlearned = UNCLIPPED.unlearn(scene.fresh(), fit, make_run())
    here = UNCLIPPED.recover(MaskedNetwork(copy.deepcopy(unlearned)), fit, make_run())
    there = official.recover(unlearned, scene, fit)
    compare_masks(THRESHOLD, "from one unlearned network", here, there)
    alone = official.recover(with_weights(scene, official.unlearn(scene, fit)[0]), scene, fit)
    clipped = METHOD.recover(MaskedNetwork(METHOD.unlearn(scene.fresh(), fit, make_run())), fit, make_run())
    compare_masks(THRESHOLD, "each from its own", here, alone)
    compare_masks(THRESHOLD, "each from its own, gradients shortened to 20 here", clipped, alone)
    print("\n| | pruned | ACC | ASR | RA |\n|---|---|---|---|---|")
    print(pruned_row(scene, "victim", scene.victim))
    for name, masks in (("here, gradients as they are", here), ("here", clipped), ("official", alone)):
        chosen = prune_fallen(
            scene.victim, masks, validation, make_run(), max_drop=METHOD.max_drop, grid=METHOD.grid, selection="own"
        )
        fixed = prune(scene.victim, units_below(masks, THRESHOLD))
        for rule, model in (("our threshold", chosen), (f"threshold {THRESHOLD}", fixed)):
            print(pruned_row(scene, f"{name}, {rule}", model))
    best = select_there(official.module, official.module.rnp, scene, alone)
    print(pruned_row(scene, "official, the lowest ASR on test images", best))


class Official:
    """The loops of `defense/rnp.py` on networks of ours."""

    def __init__(self, checkout: Path):
        load(checkout, "rnp")
        sys.modules["utils.trainer_cls"].PureCleanModelTrainer = object  # type: ignore[attr-defined]
        self.module: ModuleType = executed(checkout / "defense" / "rnp.py")
        home = checkout / "utils" / "defense_utils" / "rnp" / "rnp_model"
        self.norm = executed(home / "mask_batchnorm.py").MaskBatchNorm2d

    def unlearn(self, scene: Scene, data: Images) -> tuple[nn.Module, list[Any]]:
        """The unlearned network, and loss and accuracy of each epoch."""
        network = scene.fresh().network
        decay = scene.victim.recipe.weight_decay
        sgd = torch.optim.SGD(network.parameters(), lr=METHOD.unlearn_lr, momentum=0.9, weight_decay=decay)
        rates = torch.optim.lr_scheduler.MultiStepLR(sgd, milestones=[10, 20], gamma=0.1)
        trainer = self.trainer("UnlearnModelTrainer", network, sgd, rates)
        order, told = make_run().torch_rng("unlearning/order"), list[Any]()
        for _ in range(METHOD.unlearn_epochs):
            told.append(run_epoch(trainer, list(draw_batches(scene, data, order))))
            if told[-1][1] <= METHOD.stop_accuracy:
                break
        return network.eval(), told

    def recover(self, unlearned: Model, scene: Scene, data: Images) -> Masks:
        """The masks after its epochs."""
        network = replace_norms(unlearned.network, self.norm)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_("neuron_mask" in name)
        masks = {name[: -len(".neuron_mask")]: p for name, p in network.named_parameters() if "neuron_mask" in name}
        sgd = torch.optim.SGD(masks.values(), lr=METHOD.lr, momentum=0.9)
        trainer = self.trainer("RecoverModelTrainer", network, sgd, None, alpha=METHOD.alpha)
        order = make_run().torch_rng("recovering/order")
        for _ in range(METHOD.recover_epochs):
            run_epoch(trainer, list(draw_batches(scene, data, order)))
        return {name: mask.detach() for name, mask in masks.items()}

    def trainer(self, name: str, network: nn.Module, sgd: Any, rates: Any, **more: Any) -> Any:
        """One of its trainers, as its loop of epochs finds it."""
        kind = getattr(self.module, name)
        trainer = kind.__new__(kind)
        vars(trainer).update(model=network, optimizer=sgd, scheduler=rates, criterion=nn.CrossEntropyLoss())
        vars(trainer).update(amp=False, non_blocking=False, **more)
        return trainer


def draw_batches(scene: Scene, data: Images, order: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The next epoch's, as ours draw them."""
    images, labels = scene.normalized(data)
    for rows in Resident(data, torch.device("cpu")).positions(METHOD.batch_size, order):
        yield images[rows], labels[rows]


def run_epoch(trainer: Any, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[float, float]:
    """Its mean loss and its accuracy."""
    given = iter(batches)
    trainer.batch_num_per_epoch = len(batches)
    trainer.get_one_batch = lambda: (*next(given), *torch.zeros(3, 1))
    loss, predicted, labels, *_ = trainer.train_one_epoch_on_mix(verbose=1)
    return loss, float((predicted == labels).float().mean())


def compare_unlearning(scene: Scene, official: Official, data: Images) -> None:
    """A row for each epoch: the losses and the accuracies; how far apart the weights are then, as a share of their
    way."""
    run, clipped = make_run(), make_run()
    mine, (theirs, told) = UNCLIPPED.unlearn(scene.fresh(), data, run), official.unlearn(scene, data)
    METHOD.unlearn(scene.fresh(), data, clipped)
    print("| epoch of unlearning | loss here | official | accuracy here | official | loss, gradients shortened |")
    print("|---|---|---|---|---|---|")
    rows, short = ([row for row in one.rows if row["kind"] == "epoch"] for one in (run, clipped))
    for row, (loss, kept), other in zip(rows, told, short, strict=True):
        cells = f"{-row['loss']:.5f} | {loss:.5f} | {row['accuracy']:.3f} | {kept:.3f} | {-other['loss']:.5f}"
        print(f"| {row['epoch'] + 1} | {cells} |")
    print(f"\nDistance of the weights, of the way that they have come: {apart(scene.victim, mine, theirs):.1e}.")


def apart(start: Model, here: Model, there: nn.Module) -> float:
    """The distance of both networks' weights over the way that ours have come."""
    triples = zip(here.network.parameters(), there.parameters(), start.network.parameters(), strict=True)
    parts = [((a - b).detach().square().sum(), (a - c).detach().square().sum()) for a, b, c in triples]
    gap, way = (math.sqrt(sum(float(part[axis]) for part in parts)) for axis in (0, 1))
    return gap / way


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
